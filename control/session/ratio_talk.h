#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "control/proto/gate.pb.h"
#include "control/transfer/message_codec.h"
#include "dataplane/engine/fec/repair_policy.h"

namespace penstock::control {

/// The source's half of agreeing on how much repair is sent (dataplane/engine/fec/README.md, "Ratio"): proposals that
/// wait for their answer. The sink keeps what it receives from its answer on, so the ratio holds once that is here.
/// Each lane has a ratio of its own, and its worker answers in its own time: answers come in order for each lane alone.
/// Bound: waiting_max for each lane; of older ones the answer is passed over. Threads: one owner.
class RatioTalk {
 public:
  static constexpr std::size_t waiting_max = 8;

  struct Agreed {
    std::size_t lane;
    engine::RepairRatio ratio;
  };

  [[nodiscard]] proto::Envelope propose(std::size_t lane, const engine::RepairRatio& ratio) {
    const auto is_of_lane = [lane](const Proposal& proposal) { return proposal.lane == lane; };
    if (static_cast<std::size_t>(std::ranges::count_if(waiting_, is_of_lane)) == waiting_max)
      waiting_.erase(std::ranges::find_if(waiting_, is_of_lane));
    waiting_.push_back({++number_, lane, ratio});
    proto::Envelope envelope;
    encode_ratio(number_, ratio, *envelope.mutable_fec_ratio());
    envelope.mutable_fec_ratio()->set_lane(static_cast<std::uint32_t>(lane));
    return envelope;
  }
  /// What holds from now on; nullopt: nothing new.
  [[nodiscard]] std::optional<Agreed> on_agreed(std::uint64_t number) {
    const auto found =
        std::ranges::find_if(waiting_, [number](const Proposal& proposal) { return proposal.number == number; });
    if (found == waiting_.end()) return std::nullopt;
    const Agreed agreed{found->lane, found->ratio};
    std::erase_if(waiting_,
                  [&](const Proposal& proposal) { return proposal.lane == agreed.lane && proposal.number <= number; });
    return agreed;
  }

 private:
  struct Proposal {
    std::uint64_t number;
    std::size_t lane;
    engine::RepairRatio ratio;
  };
  std::deque<Proposal> waiting_;
  std::uint64_t number_ = 0;
};

}  // namespace penstock::control
