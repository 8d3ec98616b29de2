#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/gate/key_exchange.h"
#include "control/session/transfer_run.h"
#include "dataplane/io/endpoint.h"

namespace penstock::control {

enum class End : std::uint8_t { client, daemon };

/// A lane's keys and ids, as this end seals and opens. Consumes the lane's secrets: once a session. Requires: lane <
/// agreement.lanes().
engine::LaneKeys take_lane_keys(crypto::SessionSecrets& secrets, const Agreement& agreement, End end,
                                std::size_t lane = 0);

/// What the path says about a lane.
struct LanePath {
  std::size_t udp_payload = engine::udp_payload_min;  // the most that both ends' interfaces take
  std::size_t ip_overhead = 28;
  Duration rtt = std::chrono::milliseconds{100};
};
void apply_path(const LanePath& path, RunConfig& config);

/// The controller of this name, as a request carries it (TransferOpen.congestion). The default where this version does
/// not know the name, or for `fixed` without a rate.
engine::Congestion congestion_named(std::string_view name, bool has_rate);

/// USAGE where lanes are not coupled under this controller (scavenger's are not).
Status check_lanes(engine::Congestion congestion, std::size_t lanes);

/// The UDP side of a control channel's remote end.
io::Endpoint endpoint_of(const asio::ip::tcp::endpoint& remote, std::uint16_t udp_port);

/// Where the client sends datagrams: the advertised address, else the control channel's. UDP_BLOCKED when what the
/// daemon advertises is no address.
Result<io::Endpoint> udp_endpoint_of(const asio::ip::tcp::endpoint& remote, const Agreement& agreement);

/// What at the receiving end holds a transfer back, as far as that end knows: target_disk, receiver_cpu or nothing.
/// `slabs_waiting`: for the disk to take them.
std::string_view sink_limit_of(const engine::LaneStats& stats, std::uint64_t slabs_waiting);
/// What holds a sender back, in DESIGN section 4's words, told from one sample of its lane and from what the receiving
/// end said last (sink_limit_of).
std::string_view limit_of(const engine::LaneStats& stats, bool cap_is_servers, std::string_view sink_limit);

/// Is this one of the nine words? A peer's word is shown and counted only then.
bool is_limit(std::string_view word);

/// Which word was true most of the time: the one that the summary and the receipt show.
class LimitTally {
 public:
  /// Anything but one of the nine words is passed over.
  void add(std::string_view limit);
  [[nodiscard]] std::string_view now() const { return now_; }
  [[nodiscard]] std::string mostly() const;

 private:
  std::map<std::string, std::uint64_t, std::less<>> counts_;
  std::string now_;
};

}  // namespace penstock::control
