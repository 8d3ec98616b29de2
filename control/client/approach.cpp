#include "control/client/approach.h"

#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <charconv>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "control/client/connection_race.h"
#include "control/client/path_memory.h"
#include "control/client/tcp_dial.h"
#include "control/gate/capabilities.h"
#include "control/gate/fec_words.h"
#include "control/gate/tcp_rtt.h"
#include "control/session/wall_clock.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;
using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view software = "penstock 0.1.0";

std::string shown(const ClientConfig& config) { return escape_for_display(shown_address(config), 300); }

/// The address that the host is, where it is one. The resolver takes a %zone with link-local addresses alone.
Result<std::optional<asio::ip::address>> literal_address(const std::string& host) {
  std::error_code failed;
  const auto percent = host.find('%');
  auto address = asio::ip::make_address(host.substr(0, percent), failed);
  if (failed || (percent != std::string::npos && !address.is_v6())) return std::optional<asio::ip::address>{};
  if (percent == std::string::npos) return std::optional{address};
  const std::string zone = host.substr(percent + 1);
  unsigned int index = ::if_nametoindex(zone.c_str());
  if (index == 0) {
    const auto [end, bad] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
    std::array<char, IF_NAMESIZE> name{};
    if (bad != std::errc{} || end != zone.data() + zone.size() || ::if_indextoname(index, name.data()) == nullptr)
      return Error{ErrorCode::RESOLVE_FAILED, "this machine has no network interface " + escape_for_display(zone, 64) +
                                                  ", which the address " + escape_for_display(host, 255) +
                                                  " names after its %"};
  }
  auto scoped = address.to_v6();
  scoped.scope_id(index);
  return std::optional<asio::ip::address>{scoped};
}

/// All addresses of the host.
asio::awaitable<Result<std::vector<tcp::endpoint>>> async_resolve_host(const ClientConfig& config,
                                                                       SteadyClock::time_point deadline) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::resolver resolver{executor};
  std::error_code failed;

  asio::steady_timer resolve_timer{executor, deadline};
  auto timed_out = std::make_shared<bool>(false);
  resolve_timer.async_wait([&resolver, timed_out](std::error_code cancelled) {
    if (cancelled) return;
    *timed_out = true;
    resolver.cancel();
  });
  std::vector<tcp::endpoint> found;
  const auto literal = literal_address(config.host);
  if (!literal) co_return literal.error();
  if (*literal) {
    found.emplace_back(**literal, config.port);
  } else {
    const auto resolved = co_await resolver.async_resolve(config.host, std::to_string(config.port),
                                                          asio::redirect_error(asio::use_awaitable, failed));
    for (const auto& one : resolved) found.push_back(one.endpoint());
  }
  resolve_timer.cancel();
  if (failed || found.empty())
    co_return Error{ErrorCode::RESOLVE_FAILED, "the host name " + escape_for_display(config.host, 255) +
                                                   " has no address (" + (*timed_out ? "timed out" : failed.message()) +
                                                   "); check the spelling and the name service"};
  co_return found;
}

std::string own_name(const ClientConfig& config) {
  if (!config.client_name.empty()) return config.client_name;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unnamed";
  return name.data();
}

/// What is remembered of the way to any of the daemons that may be there.
class KnownPaths {
 public:
  KnownPaths(const ClientHome& home, const Entry& entry) : memory_(home.directory()), entry_(entry) {}

  [[nodiscard]] std::optional<RememberedPath> to(const asio::ip::address& address) const {
    const UnixSeconds now{unix_now()};
    for (const auto& candidate : entry_.candidates)
      if (auto path = memory_.find(candidate.pin, address, now)) return path;
    return std::nullopt;
  }
  [[nodiscard]] std::uint32_t loss_permille(const std::vector<tcp::endpoint>& addresses) const {
    std::uint32_t most = 0;
    for (const auto& address : addresses)
      if (const auto path = to(address.address())) most = std::max(most, path->loss_permille);
    return most;
  }

 private:
  PathMemory memory_;
  const Entry& entry_;
};

/// One way to a daemon: the frame of each attempt borrows this.
struct Way {
  const ClientConfig& config;
  ClientHome& home;
  const TlsContext& tls;
  const Entry& entry;
  std::vector<tcp::endpoint> addresses;
  RememberedRtt remembered;
  SteadyClock::time_point deadline;
  const crypto::RsaPrivateKey* new_key = nullptr;  // with a token

  [[nodiscard]] Duration left() const {
    return std::max<Duration>(deadline - SteadyClock::now(), std::chrono::milliseconds{1});
  }
};

/// Our registration with the daemon that has this key; with a token, what it is going to be made of.
Result<KnownDaemon> daemon_of(const Way& way, const Pin& pin) {
  if (way.entry.token != nullptr) {
    PENSTOCK_CHECK(pin == way.entry.token->pin);
    KnownDaemon daemon;
    daemon.key_id = ClientHome::key_id_for(way.entry.token->id, pin);
    daemon.pin = pin;
    daemon.registered = UnixSeconds{unix_now()};
    return daemon;
  }
  const auto known = std::ranges::find_if(way.entry.candidates, [&](const auto& one) { return one.trusts(pin); });
  if (known == way.entry.candidates.end())
    return Error{ErrorCode::NOT_REGISTERED, "this client is not registered with " + shown(way.config)};
  return *known;
}

asio::awaitable<Result<Approach>> async_go(const Way& way) {
  auto dialled = co_await async_dial(way.addresses, way.deadline, way.remembered);
  if (!dialled.socket)
    co_return Error{ErrorCode::CONNECT_REFUSED,
                    "nothing answers at " + shown(way.config) + " (" + dialled.reason +
                        "); is penstockd running there, and does a firewall let TCP through?"};
  WayThere seen{.rtt = tcp_rtt_of(*dialled.socket)};
  auto channel = co_await TlsChannel::async_connect(std::move(*dialled.socket), way.tls, way.entry.trust, way.left());
  if (!channel) co_return named(way.config, channel.error(), seen);

  auto daemon = daemon_of(way, channel->peer_pin());
  if (!daemon) co_return daemon.error();
  ClientOffer offer;
  std::optional<crypto::RsaPrivateKey> key;
  if (way.entry.token != nullptr) {
    offer.token = way.entry.token;
    offer.client_name = own_name(way.config);
    offer.key = way.new_key;
  } else {
    auto loaded = way.home.load_key(daemon->key_id);
    if (!loaded) co_return loaded.error();
    key.emplace(std::move(*loaded));
    offer.key = &*key;
    offer.uuid = daemon->uuid;
  }
  while (offer.connection_ids.size() < way.entry.lanes) {
    const ConnectionId id{crypto::random_u64()};
    if (std::ranges::find(offer.connection_ids, id) == offer.connection_ids.end()) offer.connection_ids.push_back(id);
  }
  offer.software = software;
  offer.capabilities = {std::string{capability_fec}, std::string{capability_ahead}};
  const Duration left = way.left();
  seen.gate_time_rules = left >= gate_timeout;
  auto met = co_await async_meet(*channel, std::move(offer), std::min(left, gate_timeout));
  if (!met) co_return named(way.config, met.error(), seen);
  co_return Approach{.channel = std::move(*channel), .met = std::move(*met), .daemon = std::move(*daemon), .way = seen};
}

}  // namespace

asio::awaitable<Result<Approach>> async_approach(const ClientConfig& config, ClientHome& home, const TlsContext& tls,
                                                 const Entry& entry) {
  std::optional<crypto::RsaPrivateKey> key;
  if (entry.token != nullptr) {
    // Before anybody listens: making an RSA key may take longer than a daemon waits for a client that says nothing.
    // The token names the daemon, and any other is refused by its pin.
    auto made = home.key_for_token(entry.token->id, entry.token->pin);
    if (!made) co_return made.error();
    key.emplace(std::move(*made));
  }
  // One time for all of it: whoever waits for us does not care which step it is that hangs.
  const auto deadline = SteadyClock::now() + config.connect_timeout;
  auto addresses = co_await async_resolve_host(config, deadline);
  if (!addresses) co_return addresses.error();
  const KnownPaths paths{home, entry};
  const auto loss_permille = paths.loss_permille(*addresses);
  const Way way{.config = config,
                .home = home,
                .tls = tls,
                .entry = entry,
                .addresses = std::move(*addresses),
                .remembered = [&paths](const asio::ip::address& address) -> std::optional<Duration> {
                  const auto path = paths.to(address);
                  return path ? std::optional{path->rtt} : std::nullopt;
                },
                .deadline = deadline,
                .new_key = key ? &*key : nullptr};
  std::function<asio::awaitable<Result<Approach>>()> attempt = [&way] { return async_go(way); };
  co_return co_await async_race<Approach>(race_attempts(loss_permille), std::move(attempt));
}

std::string shown_address(const ClientConfig& config) {
  const bool v6 = config.host.find(':') != std::string::npos;
  return (v6 ? "[" + config.host + "]" : config.host) + ":" + std::to_string(config.port);
}

}  // namespace penstock::control
