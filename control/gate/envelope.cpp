#include "control/gate/envelope.h"

#include <google/protobuf/stubs/logging.h>

namespace penstock::control {
namespace {

// Both ways: text that is not UTF-8 is worth a line to the library when it parses and when it serialises. As an
// initialiser it comes before main, so before any message whichever thread has the first.
[[maybe_unused]] const auto printed_until_now = google::protobuf::SetLogHandler(nullptr);

}  // namespace

std::optional<proto::Envelope> decode_envelope(std::span<const std::byte> bytes) {
  proto::Envelope envelope;
  if (!envelope.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return envelope;
}

}  // namespace penstock::control
