#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/fec/repair_policy.h"

namespace penstock::sim {

/// The simulator's stand-ins for the control channel's messages, carried in CONTROL frames.
struct SessionMessage {
  enum class Type : std::uint8_t {
    manifest,      // range.end: transfer space known so far
    manifest_end,  // range.end: all of it
    held,          // the sink has this range
    repair,        // send this range again
    done,          // all written
    ratio,         // FEC: `ratio` is proposed
    ratio_agreed,  // and agreed to
    filler,        // carries `filler`, to be delivered whole, once and in order
  };
  Type type = Type::filler;
  TransferRange range = {};
  std::vector<std::byte> filler = {};
  engine::RepairRatio ratio = {};
};

std::vector<std::byte> encode_session_message(const SessionMessage& message);
/// Nullopt where the bytes are none of ours: the pipe has changed a message.
std::optional<SessionMessage> decode_session_message(std::span<const std::byte> bytes);

/// Compares fillers as they arrive with those that were queued.
class MessageChecker {
 public:
  void expect(std::vector<std::byte> filler) { expected_.push_back(std::move(filler)); }
  void on_arrival(std::span<const std::byte> filler);
  void on_garbage() { ++wrong_; }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::size_t missing() const { return expected_.size(); }

 private:
  std::deque<std::vector<std::byte>> expected_;
  std::uint64_t delivered_ = 0;
  std::uint64_t wrong_ = 0;
};

}  // namespace penstock::sim
