#include "control/client/ping.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "common/escape.h"
#include "control/gate/failure.h"
#include "control/session/fast_path_words.h"
#include "control/session/mark_watch.h"
#include "control/session/udp_probe.h"
#include "dataplane/io/path_mtu.h"

namespace penstock::control {
namespace {

// Tuning: how long a probe waits for its echo. A path that drops one in five still answers within a second.
constexpr Duration probe_patience = std::chrono::seconds{4};
constexpr std::uint64_t probe_bulk_max = 4 * GiB;
constexpr Duration probe_bulk_time_max = std::chrono::seconds{20};
// Specification: ProbeOpened.fast_paths.
constexpr std::size_t fast_paths_read_max = 32;
constexpr std::size_t fast_path_size_max = 64;

double milliseconds_of(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

/// What the daemon lets us do. `unmeasured` says why there will be neither rate nor loss.
ProbePlan probe_plan(const proto::Envelope& reply, std::optional<Duration> timeout, std::string& unmeasured) {
  const Duration patience = timeout.value_or(Duration::max());
  ProbePlan plan{.echo_patience = std::min(probe_patience, patience)};
  if (!reply.has_probe_opened()) {
    unmeasured = "the daemon is of a version that does not measure";
    return plan;
  }
  const auto& opened = reply.probe_opened();
  if (opened.has_refused()) unmeasured = error_of_failure(opened.refused()).message;
  // A daemon may promise what it likes; measuring needs no more than this.
  plan.bulk_bytes = std::min(opened.bytes_max(), probe_bulk_max);
  plan.bulk_patience =
      std::min({patience, Duration{std::chrono::milliseconds{opened.time_max_ms()}}, probe_bulk_time_max});
  if (opened.rate_cap_bps() != 0) plan.rate_cap = DataRate::bits_per_second(opened.rate_cap_bps());
  return plan;
}

}  // namespace

asio::awaitable<Result<PingAnswer>> async_measure_way(Questions& questions, OpenedSession& opened, io::Worker& worker,
                                                      std::optional<Duration> timeout) {
  PingAnswer answer;
  auto rtt = co_await opened.link->async_ping();
  if (!rtt) co_return rtt.error();
  answer.control_rtt_ms = milliseconds_of(*rtt);
  const auto& backend = crypto::aead_backend_for(opened.session.secrets.suite);
  answer.aead = std::string{crypto::to_string(opened.session.secrets.suite)} + " (" + std::string{backend.name()} + ")";
  answer.software = opened.session.agreement.peer_software;

  const auto& agreement = opened.session.agreement;
  auto peer = udp_endpoint_of(opened.link->channel().remote(), agreement);
  if (!peer) co_return peer.error();
  LanePath path;
  path.ip_overhead = io::ip_overhead(*peer);
  path.rtt = *rtt;
  if (const auto payload = io::udp_payload_towards(*peer)) path.udp_payload = *payload;
  proto::Envelope request;
  request.mutable_open_probe()->set_udp_payload_max(static_cast<std::uint32_t>(path.udp_payload));
  request.mutable_open_probe()->set_bulk(true);
  auto reply = co_await questions.async_ask(std::move(request));
  if (!reply) co_return reply.error();
  if (!reply->has_done() && !reply->has_probe_opened()) co_return unexpected_reply();
  const ProbePlan plan = probe_plan(*reply, timeout, answer.unmeasured);
  if (const auto payload = reply->probe_opened().udp_payload_max(); payload != 0)
    path.udp_payload = std::max(engine::udp_payload_min, std::min<std::size_t>(path.udp_payload, payload));
  auto keys = take_lane_keys(opened.session.secrets, agreement, End::client);
  const auto probed = co_await async_probe_udp(worker, std::move(keys), *peer, path, plan);
  answer.udp_reachable = probed.reachable;
  if (probed.rtt) answer.udp_rtt_ms = milliseconds_of(*probed.rtt);
  if (probed.rtt_smoothed) answer.udp_rtt_smoothed_ms = milliseconds_of(*probed.rtt_smoothed);
  if (probed.path.rate) answer.rate_bps = probed.path.rate->bits_per_second();
  answer.loss_packets = probed.path.packets;
  if (probed.path.finished && probed.path.packets > 0)
    answer.loss = static_cast<double>(probed.path.packets_lost) / static_cast<double>(probed.path.packets);
  answer.ecn = ecn_answer(probed.ecn, probed.ecn_fault);
  answer.ecn_reason = ecn_reason(probed.ecn_fault);
  if (answer.unmeasured.empty() && !(answer.rate_bps && answer.loss))
    answer.unmeasured = !probed.reachable      ? "no datagram comes through"
                        : probed.path.finished ? "the path is faster than what the daemon takes bytes for"
                                               : "the path did not answer in time";
  if (probed.largest_payload != 0)
    answer.path_mtu =
        static_cast<std::uint16_t>(std::min<std::size_t>(probed.largest_payload + path.ip_overhead, 65535));
  auto paths = worker.fast_paths();
  paths.gso = paths.gso && worker.counters().gso_fallbacks == 0;
  answer.fast_paths = fast_path_words(paths);
  answer.hint = io::buffer_hint(paths).value_or("");
  for (const auto& word : reply->probe_opened().fast_paths()) {
    if (answer.fast_paths_there.size() == fast_paths_read_max) break;
    answer.fast_paths_there.push_back(escape_for_display(word, fast_path_size_max));
  }
  co_return std::move(answer);
}

}  // namespace penstock::control
