#include "control/client/connection.h"

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
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "control/client/path_memory.h"
#include "control/client/tcp_dial.h"
#include "control/gate/capabilities.h"
#include "control/gate/fec_words.h"
#include "control/session/wall_clock.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;

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

/// Any address of the host that answers.
asio::awaitable<Result<tcp::socket>> async_connect_host(const ClientConfig& config,
                                                        std::chrono::steady_clock::time_point deadline,
                                                        RememberedRtt remembered) {
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
  auto dialled = co_await async_dial(std::move(found), deadline, std::move(remembered));
  if (dialled.socket) co_return std::move(*dialled.socket);
  co_return Error{ErrorCode::CONNECT_REFUSED,
                  "nothing answers at " + shown(config) + " (" + dialled.reason +
                      "); is penstockd running there, and does a firewall let TCP through?"};
}

/// The advertised UDP host may be a name: it becomes an address here, once.
asio::awaitable<Status> async_resolve_udp_host(Agreement& agreement) {
  if (agreement.udp_host.empty()) co_return Status{};
  std::error_code failed;
  (void)asio::ip::make_address(agreement.udp_host, failed);
  if (!failed) co_return Status{};
  tcp::resolver resolver{co_await asio::this_coro::executor};
  const auto found = co_await resolver.async_resolve(agreement.udp_host, std::to_string(agreement.udp_port),
                                                     asio::redirect_error(asio::use_awaitable, failed));
  if (failed || found.empty())
    co_return Error{ErrorCode::UDP_BLOCKED,
                    "the daemon advertises the UDP host " + escape_for_display(agreement.udp_host, 255) +
                        ", which has no address; its operator set --udp-advertise",
                    {},
                    ErrorSide::remote};
  agreement.udp_host = found.begin()->endpoint().address().to_string();
  co_return Status{};
}

std::string own_name(const ClientConfig& config) {
  if (!config.client_name.empty()) return config.client_name;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unnamed";
  return name.data();
}

Result<std::optional<Pin>> fingerprint_of(const ClientConfig& config) {
  if (!config.fingerprint) return std::optional<Pin>{};
  const auto pin = parse_pin(*config.fingerprint);
  if (!pin) return Error{ErrorCode::USAGE, "the fingerprint is not SHA256: and 64 hexadecimal digits"};
  return std::optional<Pin>{*pin};
}

/// Who comes, and whom to trust: all that differs between registering and returning.
struct Entry {
  TrustBasis trust;
  const Token* token = nullptr;
  std::vector<KnownDaemon> candidates;  // without a token: our registrations
  std::size_t lanes = 1;
  SessionRequest first_request = {};
  bool ahead = false;
};

/// What a session that is proven leaves in our home.
Status note_session(const ClientConfig& config, ClientHome& home, const KnownDaemon& daemon,
                    const std::vector<Pin>& next_pins) {
  if (auto noted = home.note_address(daemon.pin, address_key(config.host, config.port)); !noted) return noted.error();
  if (!next_pins.empty())
    if (auto added = home.add_pins(daemon.pin, next_pins); !added) return added.error();
  return {};
}

/// Whether a push may begin before the daemon has answered: both ends know how, and nothing is left to be found out.
bool may_go_ahead(const Agreement& agreement) {
  std::error_code no_address;
  if (!agreement.udp_host.empty()) (void)asio::ip::make_address(agreement.udp_host, no_address);
  return has_capability(agreement, capability_ahead) && agreement.lanes() == 1 && !no_address;
}

asio::awaitable<Result<OpenedSession>> async_enter_as(const ClientConfig& config, ClientHome& home,
                                                      const TlsContext& tls, Entry entry) {
  std::optional<crypto::RsaPrivateKey> key;
  if (entry.token != nullptr) {
    // Before anybody listens: making an RSA key may take longer than a daemon waits for a client that says nothing.
    // The token names the daemon, and any other is refused by its pin.
    auto made = home.key_for_token(entry.token->id, entry.token->pin);
    if (!made) co_return made.error();
    key.emplace(std::move(*made));
  }
  // One time for all of it: whoever waits for us does not care which step it is that hangs.
  const auto deadline = std::chrono::steady_clock::now() + config.connect_timeout;
  const auto left = [deadline] {
    return std::max<Duration>(deadline - std::chrono::steady_clock::now(), std::chrono::milliseconds{1});
  };
  RememberedRtt remembered = [&home, &entry](const asio::ip::address& address) -> std::optional<Duration> {
    const PathMemory memory{home.directory()};
    const UnixSeconds now{unix_now()};
    for (const auto& candidate : entry.candidates)
      if (const auto path = memory.find(candidate.pin, address, now)) return path->rtt;
    return std::nullopt;
  };
  auto socket = co_await async_connect_host(config, deadline, std::move(remembered));
  if (!socket) co_return socket.error();
  std::error_code ignored;
  socket->set_option(tcp::no_delay{true}, ignored);
  auto channel = co_await TlsChannel::async_connect(std::move(*socket), tls, std::move(entry.trust), left());
  if (!channel) co_return named(config, channel.error());

  KnownDaemon daemon;
  ClientOffer offer;
  const Pin pin = channel->peer_pin();
  if (entry.token != nullptr) {
    PENSTOCK_CHECK(pin == entry.token->pin);
    offer.token = entry.token;
    offer.client_name = own_name(config);
    daemon.key_id = ClientHome::key_id_for(entry.token->id, pin);
    daemon.pin = pin;
    daemon.registered = UnixSeconds{unix_now()};
  } else {
    const auto known = std::ranges::find_if(entry.candidates, [&](const auto& one) { return one.trusts(pin); });
    if (known == entry.candidates.end())
      co_return Error{ErrorCode::NOT_REGISTERED, "this client is not registered with " + shown(config)};
    daemon = *known;
    auto loaded = home.load_key(daemon.key_id);
    if (!loaded) co_return loaded.error();
    key.emplace(std::move(*loaded));
    offer.uuid = daemon.uuid;
  }
  offer.key = &*key;
  while (offer.connection_ids.size() < entry.lanes) {
    const ConnectionId id{crypto::random_u64()};
    if (std::ranges::find(offer.connection_ids, id) == offer.connection_ids.end()) offer.connection_ids.push_back(id);
  }
  offer.software = software;
  offer.capabilities = {std::string{capability_fec}, std::string{capability_ahead}};
  FirstRequest first_request;
  if (entry.first_request && entry.token == nullptr)
    first_request = [&entry, &channel, pin = daemon.pin](const Agreement& agreement) {
      return entry.first_request(pin, *channel, agreement);
    };
  const bool asked = static_cast<bool>(first_request);
  OpenedSession opened;
  opened.first_request_sent = asked;
  opened.daemon_spki.assign(channel->peer_spki().begin(), channel->peer_spki().end());
  auto exchange =
      co_await async_show_proof(*channel, std::move(offer), std::min(left(), gate_timeout), std::move(first_request));
  if (!exchange) co_return named(config, exchange.error());
  if (entry.ahead && asked && may_go_ahead((*exchange)->agreement())) {
    opened.session = (*exchange)->take_unproven();
    opened.unproven = std::move(*exchange);
    opened.link = SessionLink::make(std::move(*channel));
    opened.daemon = std::move(daemon);
    co_return std::move(opened);
  }
  const auto answer = co_await channel->async_receive();
  if (!answer) co_return named(config, answer.error());
  auto session = (*exchange)->handle_proof(answer->envelope);
  if (!session) co_return named(config, session.error());
  channel->expire_never();
  if (auto resolved = co_await async_resolve_udp_host(session->agreement); !resolved) co_return resolved.error();

  if (entry.token != nullptr) {
    daemon.uuid = session->agreement.uuid;
    daemon.user = session->user;
    daemon.addresses = {address_key(config.host, config.port)};
    if (auto kept = home.remember(daemon); !kept) co_return kept.error();
    opened.registered_now = true;
  }
  if (auto noted = note_session(config, home, daemon, session->next_pins); !noted) co_return noted.error();
  opened.link = SessionLink::make(std::move(*channel));
  opened.session = std::move(*session);
  opened.daemon = std::move(daemon);
  co_return std::move(opened);
}

Error not_registered(const ClientConfig& config) {
  return {ErrorCode::NOT_REGISTERED, "this client is not registered with " + shown(config) +
                                         "; get a token from its operator and run `penstock register " + shown(config) +
                                         " --token -`"};
}

}  // namespace

Status accept_daemon(const ClientConfig& config, ClientHome& home, OpenedSession& opened,
                     const proto::Envelope& envelope) {
  const auto exchange = std::exchange(opened.unproven, nullptr);
  auto session = exchange->handle_proof(envelope);
  if (!session) return session.error();
  opened.link->channel().expire_never();
  session->secrets = std::move(opened.session.secrets);  // what a run that is ahead has left of them
  opened.session = std::move(*session);
  return note_session(config, home, opened.daemon, opened.session.next_pins);
}

/// A silent host is told by its name; the channel knows none.
Error named(const ClientConfig& config, Error error) {
  if (error.code == ErrorCode::PEER_LOST)
    error.message = shown(config) + " broke off before it let us in (" + error.message +
                    "); is it being restarted? run the same command again";
  if (error.code == ErrorCode::TIMED_OUT && error.side == ErrorSide::local)
    error.message = shown(config) + " took the connection but did not answer in time; is it penstockd that listens " +
                    "there? --connect-timeout allows more";
  return error;
}

std::string shown_address(const ClientConfig& config) {
  const bool v6 = config.host.find(':') != std::string::npos;
  return (v6 ? "[" + config.host + "]" : config.host) + ":" + std::to_string(config.port);
}

asio::awaitable<Result<OpenedSession>> async_register(const ClientConfig& config, ClientHome& home,
                                                      const TlsContext& tls, std::string token_text,
                                                      std::size_t lanes) {
  auto token = decode_token(token_text);
  wipe_text(token_text);
  if (!token) co_return token.error();
  auto fingerprint = fingerprint_of(config);
  if (!fingerprint) co_return fingerprint.error();
  Entry entry;
  entry.trust.host = config.host;
  entry.trust.shown = shown_address(config);
  entry.trust.token_pin = token->pin;
  entry.trust.fingerprint = *fingerprint;
  entry.trust.ca_file = config.ca_file;
  entry.token = &*token;
  entry.lanes = lanes;
  co_return co_await async_enter_as(config, home, tls, std::move(entry));
}

asio::awaitable<Result<OpenedSession>> async_open_session(const ClientConfig& config, ClientHome& home,
                                                          const TlsContext& tls, std::size_t lanes,
                                                          SessionRequest first_request, bool ahead) {
  const std::string address = address_key(config.host, config.port);
  const auto user = config.user.empty() ? std::nullopt : std::optional<std::string_view>{config.user};
  auto known = home.find_by_address(address, user);
  if (!known) co_return known.error();
  if (known->empty() && config.token) {
    std::string token = *config.token;
    co_return co_await async_register(config, home, tls, std::move(token), lanes);
  }

  // A daemon that we know under another name is still the same daemon: its key says so.
  const bool by_key = known->empty();
  if (by_key) {
    auto all = home.daemons();
    if (!all) co_return all.error();
    if (user) std::erase_if(*all, [&](const auto& one) { return one.user != *user; });
    if (all->empty()) co_return not_registered(config);
    std::ranges::reverse(*all);
    known = std::move(*all);
  }
  auto fingerprint = fingerprint_of(config);
  if (!fingerprint) co_return fingerprint.error();
  Entry entry;
  entry.trust.host = config.host;
  entry.trust.shown = shown_address(config);
  for (const auto& daemon : *known) {
    const auto pins = daemon.all_pins();
    entry.trust.pinned.insert(entry.trust.pinned.end(), pins.begin(), pins.end());
  }
  entry.trust.met_here = !by_key;
  entry.lanes = lanes;
  entry.trust.fingerprint = *fingerprint;
  entry.candidates = std::move(*known);
  entry.first_request = std::move(first_request);
  entry.ahead = ahead;
  auto opened = co_await async_enter_as(config, home, tls, std::move(entry));
  if (!opened && by_key && opened.error().code == ErrorCode::PIN_MISMATCH && !*fingerprint)
    co_return not_registered(config);
  co_return std::move(opened);
}

}  // namespace penstock::control
