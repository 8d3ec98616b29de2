#pragma once

#include <asio/ip/address.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/time.h"
#include "common/units.h"
#include "control/gate/pin.h"
#include "control/registry/records.h"
#include "dataplane/engine/path_report.h"

namespace penstock::control {

// Tuning. More paths: nobody meets so many; longer: what a path carried then says little of what it carries now.
inline constexpr std::size_t paths_remembered_max = 256;
inline constexpr std::int64_t path_age_max = std::int64_t{7} * 24 * 3600;  // seconds
// A flight that the path, or a daemon that has not seen our proof yet, did not take is lost to our own start: a MiB in
// datagrams of the least size. Of a transfer that is not many times as long nothing is learnt of what the path loses.
inline constexpr std::uint64_t loss_packets_of_start = 1000;
inline constexpr std::uint64_t loss_packets_min = 10 * loss_packets_of_start;

/// The part of an address that one network has in common: an IPv4 /24, an IPv6 /48, as "192.0.2.0/24". An IPv4-mapped
/// IPv6 address counts as the IPv4 address.
[[nodiscard]] std::string network_of(const asio::ip::address& address);

/// What one direction of a path carried, and when that was measured.
struct RememberedRate {
  DataRate rate;  // bits of IP packets
  UnixSeconds at;
  bool operator==(const RememberedRate&) const = default;
};

/// The way from here to one daemon, as a transfer found it.
struct RememberedPath {
  Pin daemon;
  std::string network;  // the daemon's (network_of)
  std::string from;     // ours: elsewhere the rates count for nothing
  Duration rtt{};       // of the control channel, before there was data to wait behind
  UnixSeconds seen;
  std::uint32_t loss_permille = 0;     // of the datagrams of the last transfer that had loss_packets_min of them
  std::optional<RememberedRate> up;    // as we sent
  std::optional<RememberedRate> down;  // as the daemon sent
  bool operator==(const RememberedPath&) const = default;
};

/// What a transfer tells of its path. `estimate`: the sender's, whichever end that was; nullopt: it does not know.
struct PathNews {
  Pin daemon;
  asio::ip::address remote;
  asio::ip::address local;
  Duration rtt{};
  bool sent = true;  // by us; else received
  std::optional<engine::PathEstimate> estimate;
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
};

/// The client's memory of paths: `paths.json` in its home. It makes a start quicker and is nothing else: what can not
/// be read is forgotten, what can not be written is not remembered, and no call fails. Of two processes that write at
/// once one is heard, and the file is always whole (replaced by rename). Bound: paths_remembered_max entries, the
/// longest unseen goes first; path_age_max. Blocks. Threads: one owner.
class PathMemory {
 public:
  /// `home`: an existing directory, ClientHome's.
  explicit PathMemory(const std::filesystem::path& home) : file_(home / "paths.json") {}

  /// Rates that are too old are left out.
  [[nodiscard]] std::optional<RememberedPath> find(const Pin& daemon, const asio::ip::address& remote,
                                                   UnixSeconds now) const;
  /// A rate is replaced by what filled the path, and by what is higher: a transfer too small to fill it proves nothing
  /// against what one before has found.
  void remember(const PathNews& news, UnixSeconds now) const;

 private:
  [[nodiscard]] std::vector<RememberedPath> load(UnixSeconds now) const;
  std::filesystem::path file_;
};

/// At what rate a transfer may begin, by half: what the path carried from here in this direction, if its round trip is
/// still much the same (from half to twice). nullopt: as an unknown one. Source: RFC 9959, Reconnaissance: the path has
/// to be confirmed before what was saved is used.
[[nodiscard]] std::optional<DataRate> rate_to_resume(const RememberedPath& path, bool sending,
                                                     const asio::ip::address& local, Duration rtt);

}  // namespace penstock::control
