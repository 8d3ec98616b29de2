#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"
#include "common/check.h"

namespace {

using namespace penstock::bytes;

/// Reads one field as `choice` says, and writes it again.
void read_one(WireReader& in, WireWriter& out, unsigned choice) {
  switch (choice % 8) {
    case 0:
      return out.u8(in.u8());
    case 1:
      return out.u16(in.u16());
    case 2:
      return out.u24(in.u24());
    case 3:
      return out.u32(in.u32());
    case 4:
      return out.u48(in.u48());
    case 5:
      return out.u64(in.u64());
    case 6: {
      const std::uint64_t value = in.varint();
      PENSTOCK_CHECK(value <= varint_max);
      return out.varint(value);
    }
    default:
      return out.bytes(in.bytes(in.u8()));
  }
}

}  // namespace

// The first byte's count of choices, the choices, then the fields they read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span{data, size});
  WireReader in{input};
  const auto choices = in.bytes(in.u8());
  std::vector<std::byte> buffer(size);
  WireWriter out{buffer};
  for (const std::byte choice : choices) {
    const std::size_t before = in.remaining();
    read_one(in, out, std::to_integer<unsigned>(choice));
    PENSTOCK_CHECK(in.remaining() <= before);
    if (!in.ok()) {  // sticky: nothing comes after
      PENSTOCK_CHECK(in.remaining() == 0 && in.u64() == 0 && in.bytes(1).empty() && !in.ok());
      return 0;
    }
  }
  // What was read is never less than what it takes to write it (varints may have come in a longer form).
  PENSTOCK_CHECK(out.ok() && out.size() <= in.position());
  return 0;
}
