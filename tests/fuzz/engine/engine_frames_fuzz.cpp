#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/bytes/wire_writer.h"
#include "common/check.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/repair_frame.h"

namespace {

using namespace penstock;
using namespace penstock::engine;

/// What was decoded is encoded to the very bytes that it came from.
template <class Value, class Encode>
void check_mirror(std::span<const std::byte> body, const Decoded<Value>& value, Encode encode) {
  if (!value) return;
  std::vector<std::byte> again(body.size() + frame_header_size);
  bytes::WireWriter out(again);
  encode(out, *value);
  PENSTOCK_CHECK(out.ok() && out.size() == again.size());
  PENSTOCK_CHECK(std::equal(body.begin(), body.end(), again.begin() + frame_header_size));
}

void check_ack(std::span<const std::byte> body) {
  std::vector<AckRange> ranges;
  std::vector<TransferRange> held;
  const auto ack = decode_ack(body, ranges, held);
  if (!ack) return;
  bytes::IntervalSet told;
  PENSTOCK_CHECK(!ranges.empty() && ranges.size() <= ack_frame_ranges_max);
  PENSTOCK_CHECK(ranges.front().largest == ack->largest);
  for (const AckRange& range : ranges) {
    PENSTOCK_CHECK(range.smallest <= range.largest);
    const bytes::Interval numbers{range.smallest.value, range.largest.value + 1};
    PENSTOCK_CHECK(told.insert(numbers).count == numbers.size());  // disjoint
  }
  std::vector<std::byte> buffer(70'000);
  bytes::WireWriter out(buffer);
  const std::size_t covered = encode_ack(out, 65'000, ack->fields, told.intervals(), {0}, ack->held);
  PENSTOCK_CHECK(out.ok() && covered == told.interval_count());
  std::vector<AckRange> again;
  std::vector<TransferRange> held_again;
  const auto same = decode_ack(out.written().subspan(frame_header_size), again, held_again);
  PENSTOCK_CHECK(held_again == held && same->held.recovered == ack->held.recovered);
  PENSTOCK_CHECK(same.ok() && same->fields == ack->fields && same->largest == ack->largest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FrameReader reader(std::as_bytes(std::span(data, size)));
  while (const auto frame = reader.next()) {
    if (!*frame) break;
    const auto body = (*frame)->body;
    switch ((*frame)->type) {
      case FrameType::ack:
        check_ack(body);
        break;
      case FrameType::credit:
        check_mirror(body, decode_credit(body), encode_credit);
        break;
      case FrameType::control:
        check_mirror(body, decode_control(body), encode_control);
        break;
      case FrameType::oldest_needed:
        check_mirror(body, decode_oldest_needed(body), encode_oldest_needed);
        break;
      case FrameType::key_update:
        check_mirror(body, decode_key_update(body), encode_key_update);
        break;
      case FrameType::skip:
        check_mirror(body, decode_skip(body), encode_skip);
        break;
      case FrameType::final_offset:
        check_mirror(body, decode_final_offset(body), encode_final_offset);
        break;
      case FrameType::close:
        check_mirror(body, decode_close(body), encode_close);
        break;
      case FrameType::path_challenge:
      case FrameType::path_response:
        check_mirror(body, decode_path_data(body), [&](bytes::WireWriter& out, const PathData& path) {
          encode_path_data(out, (*frame)->type, path);
        });
        break;
      case FrameType::ecn_counts:
        check_mirror(body, decode_ecn_counts(body), encode_ecn_counts);
        break;
      case FrameType::ping:
        check_mirror(body, decode_ping(body), [](bytes::WireWriter& out, std::monostate) { encode_ping(out); });
        break;
      case FrameType::repair:
        check_mirror(body, decode_repair(body), encode_repair);
        break;
      case FrameType::padding:
        break;
    }
  }
  return 0;
}
