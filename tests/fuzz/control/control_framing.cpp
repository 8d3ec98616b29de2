// Any bytes, in any pieces: the decoder neither crashes nor keeps more than it may, and what it yields encodes back.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "control/gate/framing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool proven = (data[0] & 1) != 0;
  const std::size_t piece = static_cast<std::size_t>(data[0] >> 1) + 1;
  auto rest = std::as_bytes(std::span{data, size}).subspan(1);
  penstock::control::FrameDecoder decoder;
  if (proven) decoder.set_proven();
  std::size_t consumed = 0;
  const std::size_t total = rest.size();
  while (!rest.empty()) {
    const auto now = rest.first(std::min(piece, rest.size()));
    rest = rest.subspan(now.size());
    decoder.feed(now);
    for (;;) {
      const auto frame = decoder.poll();
      if (!frame) {
        if (decoder.poll().ok()) std::abort();  // an error is final
        return 0;
      }
      if (!*frame) break;
      consumed += (*frame)->bytes.size();
      if (consumed > total || (!proven && consumed > penstock::control::unproven_bytes_max)) std::abort();
      (void)(*frame)->envelope.ShortDebugString();
    }
  }
  return 0;
}
