#include "control/session/udp_probe.h"

#include <algorithm>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <utility>
#include <vector>

#include "common/crypto/random.h"
#include "dataplane/engine/blank_windows.h"

namespace penstock::control {
namespace {

constexpr std::size_t message_size = 16;
// Tuning: a search that ends up between two sizes takes so many round trips.
constexpr int search_round_trips = 24;
// Tuning: how late the end of a probe may be noticed.
constexpr Duration poll_interval = std::chrono::milliseconds{20};

using SteadyClock = std::chrono::steady_clock;

/// What the two threads share; touched on the control thread alone, by what the watch posts there.
struct Findings {
  explicit Findings(const asio::any_io_executor& executor) : changed(executor) {}
  AsyncEvent changed;
  bool echoed = false;
  bool heard = false;
  engine::LaneStats stats;
  bool closed = false;
  bool gone = false;
};

class Watch final : public io::LaneObserver {
 public:
  Watch(asio::any_io_executor control, std::shared_ptr<Findings> findings)
      : control_(std::move(control)), findings_(std::move(findings)) {}
  void on_event(const engine::SenderEvent& event) override {
    const auto* message = std::get_if<engine::ControlReceived>(&event);
    const bool echoed = message != nullptr;
    const bool heard = message != nullptr || std::get_if<engine::PeerHeard>(&event) != nullptr;
    const bool closed = std::get_if<engine::Closed>(&event) != nullptr;
    tell([echoed, heard, closed](Findings& findings) {
      findings.heard = findings.heard || heard;
      findings.closed = findings.closed || closed;
      findings.echoed = findings.echoed || echoed;
    });
  }
  void on_stats(const engine::LaneStats& stats) override {
    tell([stats](Findings& findings) { findings.stats = stats; });
  }
  void on_lane_gone() override {
    tell([](Findings& findings) { findings.gone = true; });
  }

 private:
  template <class Note>
  void tell(Note note) {
    asio::post(control_, [findings = findings_, note] {
      note(*findings);
      findings->changed.notify();
    });
  }
  asio::any_io_executor control_;
  std::shared_ptr<Findings> findings_;
};

class Echo final : public io::LaneObserver {
 public:
  Echo(io::Worker& worker, ConnectionId own) : worker_(worker), own_(own) {}
  void on_event(const engine::ReceiverEvent& event) override {
    const auto* message = std::get_if<engine::ControlReceived>(&event);
    if (message == nullptr) return;
    // The engine's own bound on queued CONTROL bytes is the bound here, too: what does not fit is not echoed.
    worker_.with_receiver(own_, [bytes = message->message](engine::Receiver& receiver, TimePoint) {
      (void)receiver.queue_control(bytes);
    });
  }

 private:
  io::Worker& worker_;
  ConnectionId own_;
};

}  // namespace

asio::awaitable<ProbeResult> async_probe_udp(io::Worker& worker, engine::LaneKeys keys, io::Endpoint peer,
                                             LanePath path, ProbePlan plan) {
  const auto executor = co_await asio::this_coro::executor;
  const auto findings = std::make_shared<Findings>(executor);
  const auto watch = std::make_shared<Watch>(executor, findings);
  const ConnectionId own = keys.own_id;
  engine::SenderConfig config;
  config.udp_payload_max = path.udp_payload;
  config.congestion = engine::Congestion::measure;
  config.rate = plan.rate_cap;
  config.ip_overhead = path.ip_overhead;
  config.initial_rtt = path.rtt;
  worker.add_sender(own, engine::Sender{config, std::move(keys), Rng{crypto::random_u64()}},
                    std::make_shared<engine::BlankSource>(), peer, watch);
  worker.with_sender(own, [](engine::Sender& sender, TimePoint) {
    const std::vector<std::byte> message(message_size);
    (void)sender.queue_control(message);
  });
  auto deadline = SteadyClock::now() + plan.echo_patience;
  while (!findings->echoed && !findings->closed && SteadyClock::now() < deadline)
    co_await findings->changed.async_wait(poll_interval);
  deadline = std::min(deadline, SteadyClock::now() + search_round_trips * path.rtt);
  while (findings->echoed && !findings->stats.datagram_size_settled && !findings->closed &&
         SteadyClock::now() < deadline) {
    worker.with_sender(own, [watch](engine::Sender& sender, TimePoint) { watch->on_stats(sender.stats()); });
    co_await findings->changed.async_wait(poll_interval);
  }
  if (findings->echoed && plan.bulk_bytes > 0) {
    worker.with_sender(
        own, [end = plan.bulk_bytes](engine::Sender& sender, TimePoint) { sender.offer(TransferOffset{end}); });
    deadline = SteadyClock::now() + plan.bulk_patience;
    while (!findings->stats.path.finished && !findings->closed && SteadyClock::now() < deadline) {
      // Asked for, since the meter's last word may come by a timer of the engine, which is no activity of the lane.
      worker.with_sender(own, [watch](engine::Sender& sender, TimePoint) { watch->on_stats(sender.stats()); });
      co_await findings->changed.async_wait(poll_interval);
    }
  }
  worker.with_sender(own, [](engine::Sender& sender, TimePoint) { sender.close(engine::TransportError::none); });
  worker.remove(own);
  while (!findings->gone) co_await findings->changed.async_wait();
  ProbeResult result;
  result.reachable = findings->heard;
  if (findings->stats.packets_received > 0 && findings->stats.rtt_min > Duration{}) {
    result.rtt = findings->stats.rtt_min;
    result.rtt_smoothed = findings->stats.rtt_smoothed;
  }
  result.path = findings->stats.path;
  result.ecn = findings->stats.ecn;
  result.ecn_fault = findings->stats.ecn_fault;
  if (findings->echoed) result.largest_payload = static_cast<std::size_t>(findings->stats.datagram_size);
  co_return result;
}

void start_probe_echo(io::Worker& worker, engine::LaneKeys keys, const LanePath& path, std::uint64_t bulk_bytes) {
  const ConnectionId own = keys.own_id;
  engine::ReceiverConfig config;
  config.ip_overhead = path.ip_overhead;
  config.initial_rtt = path.rtt;
  engine::Receiver receiver{config, std::move(keys), Rng{crypto::random_u64()}};
  receiver.expect(TransferOffset{bulk_bytes});
  worker.add_receiver(own, std::move(receiver), std::make_shared<engine::DiscardSink>(), std::nullopt,
                      std::make_shared<Echo>(worker, own));
}

}  // namespace penstock::control
