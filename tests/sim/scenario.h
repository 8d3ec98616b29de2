#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "netem/link_settings.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/host.h"
#include "tests/sim/lane.h"
#include "tests/sim/pipe.h"

namespace penstock::sim {

/// Nothing gets through, either way.
struct Outage {
  Duration after{0};  // from the start
  Duration length{0};
};

/// From `after` on, counted from the start, the path is another one, both ways.
struct Step {
  Duration after{0};
  std::optional<DataRate> rate = {};
  std::optional<Duration> rtt = {};
};

/// A network of two hosts, and how the engines on them are set. Both directions have the same delay and, unless said
/// otherwise, the same rate and luck; forward is where the first lane's DATA goes.
struct Options {
  Duration rtt = std::chrono::milliseconds{20};
  DataRate rate = DataRate::megabits_per_second(100);
  std::optional<std::uint64_t> queue_bytes = {};  // default: one bandwidth-delay product, at least 64 KiB
  netem::Probability loss = {};                   // forward
  netem::Probability ack_loss = {};               // backward
  std::optional<netem::BurstLoss> burst = {};     // forward
  netem::LossPlacement loss_placement = netem::LossPlacement::after_bottleneck;
  Duration jitter{0};
  netem::Probability reorder = {};
  Duration reorder_delay = std::chrono::milliseconds{1};
  netem::Probability duplicate = {};
  netem::Probability corrupt = {};
  std::optional<Outage> outage = {};
  std::vector<Step> steps = {};           // ascending
  netem::MarkThreshold mark_above = {};   // forward, where it marks instead of dropping
  MarkBox box = MarkBox::honest;          // forward
  std::optional<std::uint32_t> mtu = {};  // bytes of IP, both ways; longer ones vanish

  engine::Congestion congestion = engine::Congestion::cubic;
  engine::Fec fec = {};
  bool ecn = true;
  std::optional<DataRate> paced = {};       // of `fixed`, in IP bytes; default: 95 % of `rate`
  std::optional<DataRate> remembered = {};  // what an earlier transfer found the path to carry, true or not
  engine::ChunkOrder order = engine::ChunkOrder::sequential;
  std::size_t udp_payload_size = 1472;
  std::size_t udp_payload_max = 0;  // of the sender: above the former, sizes are searched
  std::uint64_t initial_credit = 1 * MiB;
  std::optional<std::uint64_t> sender_initial_credit = {};  // a sender that cheats
  std::uint64_t key_update_packets = std::uint64_t{1} << 22;
  Duration initial_rtt{0};  // 0: the path's own, as the control channel measured it
  SourceOptions source = {};
  SinkOptions sink = {};
  Duration coalescing{0};                        // of datagrams at each host's socket
  const crypto::AeadBackend* backend = nullptr;  // null: the best AES-256-GCM

  Duration patience = std::chrono::hours{1};  // virtual; then the run is over, finished or not
  std::uint64_t seed = 1;
};

/// The same with the lowest rate and the longest round trip that its steps bring, from the start on: what bounds go by.
[[nodiscard]] Options at_worst(Options options);

/// Whole transfers by real engines in virtual time. One use: one call of transfer or transfer_all.
class Scenario {
 public:
  explicit Scenario(const Options& options);

  /// Towards the first lane's receiver, and back. For rules, attackers, changes and counters.
  [[nodiscard]] Pipe& forward() { return *forward_; }
  [[nodiscard]] Pipe& backward() { return *backward_; }
  /// For their sleep. The client sends, but for a pull.
  [[nodiscard]] Host& client() { return client_; }
  [[nodiscard]] Host& daemon() { return daemon_; }
  [[nodiscard]] Duration rtt() const { return options_.rtt; }
  [[nodiscard]] std::uint64_t seed() const { return options_.seed; }
  [[nodiscard]] TimePoint start() const { return start_; }
  [[nodiscard]] const Options& options() const { return options_; }

  LaneOutcome transfer(std::uint64_t bytes) { return transfer(LanePlan{.bytes = bytes}); }
  LaneOutcome transfer(const LanePlan& plan);
  /// Several engines on one worker an end, over one link.
  std::vector<LaneOutcome> transfer_all(const std::vector<LanePlan>& plans);

  /// A lane of transfer_all while it runs, for rules and attackers.
  [[nodiscard]] Lane& lane(std::size_t index) { return *lanes_.at(index); }

  /// When a sender that knew rate and loss beforehand would have written the last byte of all lanes: serialisation of
  /// every needed byte with its headers, divided by what loss leaves, and half a round trip; on the path at its worst.
  /// After transfer.
  [[nodiscard]] TimePoint ideal_finish() const;
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_.value(); }
  /// Datagrams that reached a host and no engine.
  [[nodiscard]] std::uint64_t strangers() const { return client_.strangers() + daemon_.strangers(); }

 private:
  Options options_;
  Rng luck_;
  TimePoint start_;
  EventQueue events_;
  TraceHash trace_;
  Host client_;
  Host daemon_;
  std::unique_ptr<Pipe> forward_;
  std::unique_ptr<Pipe> backward_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace penstock::sim
