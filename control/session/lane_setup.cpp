#include "control/session/lane_setup.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "common/escape.h"

namespace penstock::control {
namespace {
// A thread that is busier does not keep up, or is about to: a sender that measures its rate leaves it some rest.
constexpr std::uint8_t busy_percent_min = 80;
}  // namespace

engine::LaneKeys take_lane_keys(crypto::SessionSecrets& secrets, const Agreement& agreement, End end,
                                std::size_t number) {
  auto& lane = secrets.lanes.at(number);
  auto& sends = end == End::client ? lane.client_to_daemon : lane.daemon_to_client;
  auto& receives = end == End::client ? lane.daemon_to_client : lane.client_to_daemon;
  const ConnectionId client = agreement.client_ids.at(number);
  const ConnectionId daemon = agreement.daemon_ids.at(number);
  return {.backend = &crypto::aead_backend_for(secrets.suite),
          .send_secret = std::move(sends),
          .receive_secret = std::move(receives),
          .peer_id = end == End::client ? daemon : client,
          .own_id = end == End::client ? client : daemon};
}

void apply_path(const LanePath& path, RunConfig& config) {
  // Only DATA is ever longer than what all paths carry, and only as far as the path shows that it does.
  config.sender.udp_payload_size = engine::udp_payload_min;
  config.sender.udp_payload_max = path.udp_payload;
  config.sender.ip_overhead = path.ip_overhead;
  config.sender.initial_rtt = path.rtt;
  config.receiver.udp_payload_size = engine::udp_payload_min;
  config.receiver.ip_overhead = path.ip_overhead;
  config.receiver.initial_rtt = path.rtt;
}

engine::Congestion congestion_named(std::string_view name, bool has_rate) {
  if (name == "fixed" && has_rate) return engine::Congestion::fixed;
  if (name == "bbr") return engine::Congestion::bbr;
  if (name == "cubic") return engine::Congestion::cubic;
  if (name == "scavenger") return engine::Congestion::scavenger;
  return engine::SenderConfig{}.congestion;
}

Status check_lanes(engine::Congestion congestion, std::size_t lanes) {
  if (lanes <= 1 || congestion != engine::Congestion::scavenger) return {};
  return Error{ErrorCode::USAGE,
               "scavenger has one lane: several of them would take several flows' shares of the path; use --cc bbr, "
               "cubic or fixed with --lanes"};
}

io::Endpoint endpoint_of(const asio::ip::tcp::endpoint& remote, std::uint16_t udp_port) {
  const auto endpoint = io::Endpoint::from_sockaddr(remote.data(), static_cast<socklen_t>(remote.size()));
  return endpoint.value_or(io::Endpoint{}).with_port(udp_port);
}

Result<io::Endpoint> udp_endpoint_of(const asio::ip::tcp::endpoint& remote, const Agreement& agreement) {
  if (agreement.udp_host.empty()) return endpoint_of(remote, agreement.udp_port);
  const bool v6 = agreement.udp_host.find(':') != std::string::npos;
  const auto text =
      (v6 ? "[" + agreement.udp_host + "]" : agreement.udp_host) + ":" + std::to_string(agreement.udp_port);
  if (const auto advertised = io::Endpoint::parse(text)) return *advertised;
  return Error{ErrorCode::UDP_BLOCKED,
               "the daemon advertises a UDP address that can not be used: " + escape_for_display(text, 255) +
                   "; its --udp-advertise wants a numeric address",
               {},
               ErrorSide::remote};
}

std::string_view sink_limit_of(const engine::LaneStats& stats, std::uint64_t slabs_waiting) {
  if (slabs_waiting > 1) return "target_disk";
  return stats.thread_busy_percent >= busy_percent_min ? "receiver_cpu" : "";
}

std::string_view limit_of(const engine::LaneStats& stats, bool cap_is_servers, std::string_view sink_limit) {
  const bool receiver_is_busy = sink_limit == "receiver_cpu";
  switch (stats.limit) {
    case engine::SenderLimit::source:
      return "source_disk";
    case engine::SenderLimit::receiver_credit:
      if (sink_limit == "target_disk") return "target_disk";
      return receiver_is_busy ? "receiver_cpu" : "receiver_credit";
    case engine::SenderLimit::pacing:
      if (stats.paced_by_cap) return cap_is_servers ? "server_cap" : "rate_cap";
      return receiver_is_busy ? "receiver_cpu" : "path";
    case engine::SenderLimit::stream:
      return receiver_is_busy ? "receiver_cpu" : "path";
    case engine::SenderLimit::cwnd:
      if (receiver_is_busy) return "receiver_cpu";
      // A window that losses have shaped is the path's; one that still grows is our own start-up.
      return stats.packets_lost > 0 ? "path" : "cwnd";
    case engine::SenderLimit::receiver_cpu:
      return "receiver_cpu";
    case engine::SenderLimit::sender_cpu:
      return "sender_cpu";
    case engine::SenderLimit::nothing_to_send:
      break;
  }
  return "";
}

bool is_limit(std::string_view word) {
  static constexpr std::array<std::string_view, 9> words{// DESIGN section 4
                                                         "source_disk", "sender_cpu",      "path",
                                                         "cwnd",        "receiver_credit", "receiver_cpu",
                                                         "target_disk", "rate_cap",        "server_cap"};
  return std::ranges::find(words, word) != words.end();
}

void LimitTally::add(std::string_view limit) {
  if (!is_limit(limit)) return;
  now_ = limit;
  const auto found = counts_.find(limit);
  if (found == counts_.end()) {
    counts_.emplace(limit, 1);
  } else {
    ++found->second;
  }
}

std::string LimitTally::mostly() const {
  const auto most = std::ranges::max_element(counts_, {}, [](const auto& entry) { return entry.second; });
  // A transfer that was over before the first sample waited for nothing but its source.
  return most == counts_.end() ? "source_disk" : most->first;
}

}  // namespace penstock::control
