#include "control/gate/daemon_exchange.h"

#include <algorithm>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/hmac.h"
#include "common/crypto/rsa_wrap.h"
#include "control/gate/exchange_words.h"
#include "control/gate/token.h"

namespace penstock::control {
namespace {

AuthRefusal reason_of(TokenRefusal refusal) {
  switch (refusal) {
    case TokenRefusal::unknown:
      return AuthRefusal::token_unknown;
    case TokenRefusal::wrong_secret:
      return AuthRefusal::token_wrong_secret;
    case TokenRefusal::expired:
      return AuthRefusal::token_expired;
    case TokenRefusal::used:
      return AuthRefusal::token_used;
    case TokenRefusal::revoked:
      return AuthRefusal::token_revoked;
    case TokenRefusal::key_in_use:
      return AuthRefusal::key_in_use;
  }
  return AuthRefusal::token_unknown;
}

// What the peer hears. Reasons that share a code share the sentence, so that nothing is told apart.
Error wire_error(AuthRefusal reason) {
  switch (reason) {
    case AuthRefusal::malformed:
      return {ErrorCode::NOT_PENSTOCK,
              "the daemon can not make sense of the hello; install the same release on both ends"};
    case AuthRefusal::no_version:
      return {ErrorCode::VERSION_MISMATCH, "the daemon speaks protocol version " + std::to_string(protocol_version) +
                                               " only; install the same release on both ends"};
    case AuthRefusal::no_suite:
      return {ErrorCode::VERSION_MISMATCH, "the two ends share no cipher; install the same release on both ends"};
    case AuthRefusal::unknown_uuid:
    case AuthRefusal::revoked:
    case AuthRefusal::wrong_key:
      return {ErrorCode::AUTH_FAILED,
              "the daemon does not accept this client; ask its operator for a token and run `penstock register` again"};
    case AuthRefusal::token_unknown:
    case AuthRefusal::token_wrong_secret:
    case AuthRefusal::token_expired:
    case AuthRefusal::token_used:
    case AuthRefusal::token_revoked:
      return {ErrorCode::TOKEN_REFUSED,
              "the token is wrong, used, revoked or expired; ask the daemon's operator for another (`penstockd token "
              "--user NAME`)"};
    case AuthRefusal::key_refused:
      return {ErrorCode::AUTH_FAILED, "the client's key is not RSA of 3072 to 4096 bits with exponent 65537"};
    case AuthRefusal::key_in_use:
      return {ErrorCode::TOKEN_REFUSED, "the client's key is registered already, by another token; make a new key"};
    case AuthRefusal::rate_limited:
      return {ErrorCode::TOKEN_REFUSED, "too many refused registrations came from this address; try again in a minute"};
    case AuthRefusal::store_failed:
      return {ErrorCode::INTERNAL, "the daemon can not use its registry; its log says why"};
  }
  return {ErrorCode::INTERNAL, "the daemon refused"};
}

}  // namespace

std::string_view to_string(AuthRefusal reason) {
  switch (reason) {
    case AuthRefusal::malformed:
      return "malformed";
    case AuthRefusal::no_version:
      return "no common version";
    case AuthRefusal::no_suite:
      return "no common cipher";
    case AuthRefusal::unknown_uuid:
      return "unknown client";
    case AuthRefusal::revoked:
      return "revoked client";
    case AuthRefusal::wrong_key:
      return "wrong key";
    case AuthRefusal::token_unknown:
      return "unknown token";
    case AuthRefusal::token_wrong_secret:
      return "wrong token secret";
    case AuthRefusal::token_expired:
      return "expired token";
    case AuthRefusal::token_used:
      return "used token";
    case AuthRefusal::token_revoked:
      return "revoked token";
    case AuthRefusal::key_refused:
      return "unacceptable key";
    case AuthRefusal::key_in_use:
      return "key in use";
    case AuthRefusal::rate_limited:
      return "too many failures";
    case AuthRefusal::store_failed:
      return "registry failed";
  }
  return "?";
}

Refusal make_refusal(AuthRefusal reason, std::string log_detail) {
  return {.reason = reason, .wire = wire_error(reason), .log_detail = std::move(log_detail)};
}

std::span<const std::byte> decoy_spki() {
  static const auto key = crypto::RsaPublicKey::make_decoy();
  return key.spki();
}

DaemonExchange::DaemonExchange(DaemonOffer offer, ChannelBinding binding,
                               crypto::SecretArray<crypto::session_key_size> session_key, Uuid fresh_uuid)
    : offer_(std::move(offer)),
      binding_(std::move(binding)),
      session_key_(std::move(session_key)),
      fresh_uuid_(fresh_uuid) {
  PENSTOCK_CHECK(offer_.identity != nullptr && offer_.receipt_key != nullptr);
  PENSTOCK_CHECK(are_lane_ids(offer_.connection_ids) && !offer_.suites.empty());
}

Refusal DaemonExchange::refuse(AuthRefusal reason, std::string log_detail) {
  state_ = State::refused;
  secrets_.reset();
  session_key_.wipe();
  binding_.key.wipe();
  return make_refusal(reason, std::move(log_detail));
}

std::optional<Refusal> DaemonExchange::agree(const proto::ClientHello& hello) {
  const auto versions = std::min(static_cast<std::size_t>(hello.versions_size()), versions_max);
  if (std::find(hello.versions().begin(), hello.versions().begin() + static_cast<std::ptrdiff_t>(versions),
                protocol_version) == hello.versions().begin() + static_cast<std::ptrdiff_t>(versions))
    return refuse(AuthRefusal::no_version, "");

  std::vector<crypto::AeadAlgorithm> suites;
  for (int i = 0; i < hello.suites_size() && suites.size() < versions_max; ++i)
    if (const auto suite = suite_from_number(hello.suites(i))) suites.push_back(*suite);
  const auto suite = choose_suite(suites, offer_.suites);
  if (!suite) return refuse(AuthRefusal::no_suite, "");
  suite_ = *suite;

  agreement_.client_ids = ids_from_field(hello.connection_ids());
  if (!are_lane_ids(agreement_.client_ids) || hello.lanes_max() == 0)
    return refuse(AuthRefusal::malformed, "connection ids");
  const std::size_t wanted = std::min(agreement_.client_ids.size(), static_cast<std::size_t>(hello.lanes_max()));
  while (offer_.one_more_id && offer_.connection_ids.size() < wanted) {
    const auto id = offer_.one_more_id();
    if (!id) break;
    offer_.connection_ids.push_back(*id);
  }
  const std::size_t lanes = std::min(wanted, offer_.connection_ids.size());
  agreement_.client_ids.resize(lanes);
  agreement_.daemon_ids = offer_.connection_ids;
  agreement_.daemon_ids.resize(lanes);
  agreement_.capabilities = common_capabilities(offer_.capabilities, hello.capabilities());
  agreement_.udp_port = offer_.udp_port;
  agreement_.udp_host = offer_.udp_host;
  agreement_.peer_software = short_text(hello.software());
  return std::nullopt;
}

Admission<void> DaemonExchange::begin_enrolment(const proto::Enrol& enrol, Registry& registry, UnixSeconds now) {
  const auto id = bytes::as_bytes(enrol.token_id());
  const auto secret = bytes::as_bytes(enrol.token_secret());
  const auto key = bytes::as_bytes(enrol.public_key());
  if (id.size() != TokenId{}.bytes.size() || secret.size() != token_secret_size || key.size() > crypto::spki_size_max ||
      enrol.client_name().size() > short_text_max)
    return refuse(AuthRefusal::malformed, "enrolment");
  auto& pending = enrolment_.emplace();
  std::ranges::copy(id, pending.token.bytes.begin());
  pending.secret = crypto::SecretBytes{secret};
  pending.client_name = enrol.client_name();
  wrap_to_.assign(key.begin(), key.end());

  const auto standing = registry.check_enrolment({.token = pending.token,
                                                  .secret = pending.secret.view(),
                                                  .public_key = wrap_to_,
                                                  .client_name = pending.client_name},
                                                 now);
  if (!standing) return refuse(AuthRefusal::store_failed, standing.error().message);
  if (!*standing) {
    // Possession of the key is not proven yet: that it is registered is told only after the proof.
    if (standing->error() == TokenRefusal::key_in_use) {
      agreement_.uuid = fresh_uuid_;
      return {};
    }
    return refuse(reason_of(standing->error()), "token " + to_string(pending.token));
  }
  agreement_.uuid = (*standing)->registered.value_or(fresh_uuid_);
  return {};
}

Admission<void> DaemonExchange::look_up(const Uuid& uuid, Registry& registry) {
  auto client = registry.find_client(uuid);
  if (!client) return refuse(AuthRefusal::store_failed, client.error().message);
  agreement_.uuid = uuid;
  if (!*client) {
    doomed_ = AuthRefusal::unknown_uuid;
    wrap_to_.assign(decoy_spki().begin(), decoy_spki().end());
    return {};
  }
  if ((*client)->revoked) doomed_ = AuthRefusal::revoked;
  wrap_to_ = std::move((*client)->public_key);
  return {};
}

void wipe_enrolment(Frame& hello) {
  if (!hello.envelope.client_hello().has_enrol()) return;
  wipe_text(*hello.envelope.mutable_client_hello()->mutable_enrol()->mutable_token_secret());
  wipe_text(hello.bytes);
}

Admission<void> DaemonExchange::handle_hello(Frame frame, Registry& registry, UnixSeconds now) {
  auto known = judge_hello(frame, registry, now);
  wipe_enrolment(frame);
  return known;
}

Admission<void> DaemonExchange::judge_hello(const Frame& frame, Registry& registry, UnixSeconds now) {
  PENSTOCK_CHECK(state_ == State::wait_hello);
  if (!frame.envelope.has_client_hello()) return refuse(AuthRefusal::malformed, "no hello");
  const auto& hello = frame.envelope.client_hello();
  if (auto refused = agree(hello)) return *std::move(refused);
  const auto uuid = uuid_from_bytes(bytes::as_bytes(hello.uuid()));
  if (hello.has_enrol() ? !hello.uuid().empty() : !uuid) return refuse(AuthRefusal::malformed, "client name");
  auto known = hello.has_enrol() ? begin_enrolment(hello.enrol(), registry, now) : look_up(*uuid, registry);
  if (!known) return known;
  transcript_.add(frame.bytes);
  state_ = State::wrapping;
  return {};
}

Admission<std::string> DaemonExchange::make_wrap() {
  PENSTOCK_CHECK(state_ == State::wrapping);
  // A registered key passed all checks when it was enrolled.
  const auto checks = enrolment_ ? crypto::KeyChecks::all : crypto::KeyChecks::shape;
  const auto key = crypto::RsaPublicKey::from_spki(wrap_to_, checks);
  if (!key && enrolment_) return refuse(AuthRefusal::key_refused, "token " + to_string(enrolment_->token));
  if (!key) return refuse(AuthRefusal::store_failed, "the stored key of " + to_string(agreement_.uuid) + " is damaged");

  proto::Envelope envelope;
  auto& wrap = *envelope.mutable_daemon_wrap();
  wrap.set_version(agreement_.version);
  for (const auto& name : agreement_.capabilities) wrap.add_capabilities(name);
  wrap.set_suite(static_cast<proto::AeadSuite>(suite_));
  for (const auto id : agreement_.daemon_ids) wrap.add_connection_ids(id.value);
  wrap.set_udp_port(offer_.udp_port);
  wrap.set_udp_host(offer_.udp_host);
  wrap.set_wrapped_key(to_field(crypto::rsa_wrap(*key, wrap_label(agreement_.uuid, binding_), session_key_)));
  if (enrolment_) wrap.set_uuid(to_field(agreement_.uuid.bytes));
  wrap.set_software(short_text(offer_.software));
  auto bytes = encode_frame(envelope);
  transcript_.add(bytes);

  secrets_.emplace(crypto::derive_session_secrets(std::move(session_key_), binding_.key.view(), suite_,
                                                  agreement_.daemon_ids.size()));
  binding_.key.wipe();
  state_ = State::wait_proof;
  return bytes;
}

Admission<ClientRecord> DaemonExchange::activate(Registry& registry, UnixSeconds now) {
  if (enrolment_) {
    auto client = registry.enrol({.token = enrolment_->token,
                                  .secret = enrolment_->secret.view(),
                                  .public_key = wrap_to_,
                                  .client_name = enrolment_->client_name},
                                 agreement_.uuid, now);
    const std::string token = "token " + to_string(enrolment_->token);
    if (!client) return refuse(AuthRefusal::store_failed, client.error().message);
    if (!*client) return refuse(reason_of(client->error()), token);
    // The same key on the same token won a race on another connection, under another name than the one this wrap was
    // bound to; the client's next attempt gets that name.
    if ((*client)->uuid != agreement_.uuid) return refuse(AuthRefusal::token_used, token);
    return **std::move(client);
  }
  // Read again: the operator may have revoked the client, or changed its grants, since the hello.
  auto client = registry.find_client(agreement_.uuid);
  if (!client) return refuse(AuthRefusal::store_failed, client.error().message);
  if (!*client || (*client)->public_key != wrap_to_)
    return refuse(AuthRefusal::unknown_uuid, to_string(agreement_.uuid));
  if ((*client)->revoked) return refuse(AuthRefusal::revoked, to_string(agreement_.uuid));
  return **std::move(client);
}

std::string DaemonExchange::encode_proof(const ClientRecord& client) const {
  proto::Envelope envelope;
  auto& proof = *envelope.mutable_daemon_proof();
  proof.set_mac(to_field(crypto::hmac_sha256(secrets_->daemon_confirm.view(), transcript_.digest())));
  proof.set_user(client.user);
  for (const auto& grant : client.grants) proof.add_grants(to_string(grant));
  for (const auto& pin : offer_.next_pins) proof.add_next_pins(to_field(pin.sha256));
  proof.set_receipt_key(to_field(offer_.receipt_key->public_key()));
  proof.set_receipt_key_signature(to_field(offer_.receipt_key->certification()));
  return encode_frame(envelope);
}

std::string DaemonExchange::who() const {
  return enrolment_ ? "token " + to_string(enrolment_->token) : "client " + to_string(agreement_.uuid);
}

Refusal DaemonExchange::abandoned() const {
  PENSTOCK_CHECK(state_ == State::wait_proof);
  return make_refusal(doomed_.value_or(AuthRefusal::wrong_key), who() + ", who left without a proof");
}

Admission<DaemonExchange::Accepted> DaemonExchange::handle_proof(const Frame& frame, Registry& registry,
                                                                 UnixSeconds now) {
  PENSTOCK_CHECK(state_ == State::wait_proof);
  if (!frame.envelope.has_client_proof()) return refuse(AuthRefusal::malformed, who());
  const bool proven = crypto::verify_hmac_sha256(secrets_->client_confirm.view(), transcript_.digest(),
                                                 bytes::as_bytes(frame.envelope.client_proof().mac()));
  if (doomed_) return refuse(*doomed_, who());
  if (!proven) return refuse(AuthRefusal::wrong_key, who());
  transcript_.add(frame.bytes);

  auto client = activate(registry, now);
  if (!client) return std::move(client).error();
  Accepted accepted{.proof = encode_proof(*client),
                    .session = {.agreement = std::move(agreement_),
                                .secrets = *std::move(secrets_),
                                .client = *std::move(client),
                                .enrolled = enrolment_.has_value()}};
  secrets_.reset();
  state_ = State::done;
  return accepted;
}

}  // namespace penstock::control
