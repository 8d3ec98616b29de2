#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "control/proto/gate.pb.h"
#include "control/transfer/message_codec.h"
#include "dataplane/engine/fec/repair_policy.h"

namespace penstock::control {

/// The source's half of agreeing on how much repair is sent (dataplane/engine/fec/README.md, "Ratio"): proposals that
/// wait for their answer. The sink keeps what it receives from its answer on, so the ratio holds once that is here.
/// Bound: waiting_max; of older ones the answer is passed over. Threads: one owner.
class RatioTalk {
 public:
  static constexpr std::size_t waiting_max = 8;

  [[nodiscard]] proto::Envelope propose(const engine::RepairRatio& ratio) {
    if (waiting_.size() == waiting_max) waiting_.pop_front();
    waiting_.push_back({++number_, ratio});
    proto::Envelope envelope;
    encode_ratio(number_, ratio, *envelope.mutable_fec_ratio());
    return envelope;
  }
  /// What holds from now on; nullopt: nothing new.
  [[nodiscard]] std::optional<engine::RepairRatio> on_agreed(std::uint64_t number) {
    std::optional<engine::RepairRatio> agreed;
    while (!waiting_.empty() && waiting_.front().number <= number) {
      if (waiting_.front().number == number) agreed = waiting_.front().ratio;
      waiting_.pop_front();
    }
    return agreed;
  }

 private:
  struct Proposal {
    std::uint64_t number;
    engine::RepairRatio ratio;
  };
  std::deque<Proposal> waiting_;
  std::uint64_t number_ = 0;
};

}  // namespace penstock::control
