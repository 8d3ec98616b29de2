#include "control/client/connection.h"

#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <string>
#include <utility>
#include <vector>

#include "common/escape.h"
#include "control/client/approach.h"
#include "control/gate/capabilities.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;

std::string shown(const ClientConfig& config) { return escape_for_display(shown_address(config), 300); }

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

Result<std::optional<Pin>> fingerprint_of(const ClientConfig& config) {
  if (!config.fingerprint) return std::optional<Pin>{};
  const auto pin = parse_pin(*config.fingerprint);
  if (!pin) return Error{ErrorCode::USAGE, "the fingerprint is not SHA256: and 64 hexadecimal digits"};
  return std::optional<Pin>{*pin};
}

/// What a session that is proven leaves in our home.
Status note_session(const ClientConfig& config, ClientHome& home, const KnownDaemon& daemon,
                    const std::vector<Pin>& next_pins) {
  if (auto noted = home.note_address(daemon.pin, address_key(config.host, config.port)); !noted) return noted.error();
  if (!next_pins.empty())
    if (auto added = home.add_pins(daemon.pin, next_pins); !added) return added.error();
  return {};
}

asio::awaitable<Result<OpenedSession>> async_enter_as(const ClientConfig& config, ClientHome& home,
                                                      const TlsContext& tls, Entry entry, SessionRequest request = {},
                                                      bool ahead = false) {
  auto approached = co_await async_approach(config, home, tls, entry);
  if (!approached) co_return approached.error();
  auto& channel = approached->channel;
  auto& met = approached->met;
  auto& daemon = approached->daemon;

  std::optional<proto::Envelope> asks;
  if (request && entry.token == nullptr) asks = co_await request(daemon, channel, met.exchange->agreement());
  const bool asked = asks.has_value();
  FirstRequest first_request;
  if (asked) first_request = [&asks](const Agreement&) { return std::move(*asks); };
  OpenedSession opened;
  opened.first_request_sent = asked;
  opened.way = approached->way;
  opened.daemon_spki.assign(channel.peer_spki().begin(), channel.peer_spki().end());
  if (auto proved = co_await async_show_proof(channel, met, std::move(first_request)); !proved)
    co_return named(config, proved.error(), approached->way);
  if (ahead && asked && may_go_ahead(met.exchange->agreement())) {
    opened.session = met.exchange->take_unproven();
    opened.unproven = std::move(met.exchange);
    opened.link = SessionLink::make(std::move(channel));
    opened.daemon = std::move(daemon);
    co_return std::move(opened);
  }
  const auto answer = co_await channel.async_receive();
  if (!answer) co_return named(config, answer.error(), approached->way);
  auto session = met.exchange->handle_proof(answer->envelope);
  if (!session) co_return named(config, session.error(), approached->way);
  channel.expire_never();
  if (auto resolved = co_await async_resolve_udp_host(session->agreement); !resolved) co_return resolved.error();

  if (entry.token != nullptr) {
    daemon.uuid = session->agreement.uuid;
    daemon.user = session->user;
    daemon.addresses = {address_key(config.host, config.port)};
    if (auto kept = home.remember(daemon); !kept) co_return kept.error();
    opened.registered_now = true;
  }
  if (auto noted = note_session(config, home, daemon, session->next_pins); !noted) co_return noted.error();
  opened.link = SessionLink::make(std::move(channel));
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

bool may_go_ahead(const Agreement& agreement) {
  std::error_code no_address;
  if (!agreement.udp_host.empty()) (void)asio::ip::make_address(agreement.udp_host, no_address);
  return has_capability(agreement, capability_ahead) && agreement.lanes() == 1 && !no_address;
}

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
  auto opened = co_await async_enter_as(config, home, tls, std::move(entry), std::move(first_request), ahead);
  if (!opened && by_key && opened.error().code == ErrorCode::PIN_MISMATCH && !*fingerprint)
    co_return not_registered(config);
  co_return std::move(opened);
}

}  // namespace penstock::control
