#include "control/gate/client_exchange.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/crypto/hmac.h"
#include "common/crypto/rsa_wrap.h"
#include "common/escape.h"
#include "control/gate/exchange_words.h"
#include "control/gate/failure.h"

namespace penstock::control {
namespace {

Error not_penstock(std::string_view what) {
  return {ErrorCode::NOT_PENSTOCK,
          "the answer to our hello is not a penstock daemon's: " + std::string{what},
          {},
          ErrorSide::remote};
}

// One text for every cause: which one it was is nobody's business on this end.
Error unwrap_failed() {
  return {ErrorCode::AUTH_FAILED,
          "the daemon's key exchange does not fit our key and this connection; register again, and if that does not "
          "help, ask its operator"};
}

}  // namespace

ClientExchange::ClientExchange(ClientOffer offer, ChannelBinding binding, std::vector<std::byte> daemon_spki)
    : offer_(std::move(offer)), binding_(std::move(binding)), daemon_spki_(std::move(daemon_spki)) {
  PENSTOCK_CHECK(offer_.key != nullptr && offer_.uuid.has_value() != (offer_.token != nullptr));
  PENSTOCK_CHECK(are_lane_ids(offer_.connection_ids) && !offer_.suites.empty());
}

Error ClientExchange::fail(Error error) {
  state_ = State::failed;
  secrets_.reset();
  binding_.key.wipe();
  return error;
}

std::string ClientExchange::hello() {
  PENSTOCK_CHECK(state_ == State::idle);
  proto::Envelope envelope;
  auto& hello = *envelope.mutable_client_hello();
  hello.add_versions(protocol_version);
  for (const auto& name : offer_.capabilities) hello.add_capabilities(name);
  for (const auto suite : offer_.suites) hello.add_suites(static_cast<proto::AeadSuite>(suite));
  hello.set_lanes_max(static_cast<std::uint32_t>(offer_.connection_ids.size()));
  for (const auto id : offer_.connection_ids) hello.add_connection_ids(id.value);
  hello.set_software(short_text(offer_.software));
  if (offer_.uuid) {
    hello.set_uuid(to_field(offer_.uuid->bytes));
  } else {
    auto& enrol = *hello.mutable_enrol();
    enrol.set_token_id(to_field(offer_.token->id.bytes));
    enrol.set_token_secret(to_field(offer_.token->secret.view()));
    enrol.set_public_key(to_field(offer_.key->public_key().spki()));
    enrol.set_client_name(short_text(offer_.client_name));
  }
  auto frame = encode_frame(envelope);
  if (offer_.token != nullptr) {
    wipe_text(*envelope.mutable_client_hello()->mutable_enrol()->mutable_token_secret());
    offer_.token = nullptr;
  }
  transcript_.add(frame);
  state_ = State::wait_wrap;
  return frame;
}

Result<std::string> ClientExchange::handle_wrap(const Frame& frame) {
  PENSTOCK_CHECK(state_ == State::wait_wrap);
  if (frame.envelope.has_failure()) return fail(error_of_failure(frame.envelope.failure()));
  if (!frame.envelope.has_daemon_wrap()) return fail(not_penstock("it sends another message than a key"));
  const auto& wrap = frame.envelope.daemon_wrap();
  if (wrap.version() != protocol_version) {
    return fail({ErrorCode::VERSION_MISMATCH,
                 "the daemon chose protocol version " + std::to_string(wrap.version()) + ", this penstock speaks " +
                     std::to_string(protocol_version) + "; install the same release on both ends",
                 {},
                 ErrorSide::remote});
  }
  const auto suite = suite_from_number(wrap.suite());
  if (!suite || std::ranges::find(offer_.suites, *suite) == offer_.suites.end())
    return fail(not_penstock("it chose a cipher that we did not offer"));
  agreement_.daemon_ids = ids_from_field(wrap.connection_ids());
  if (!are_lane_ids(agreement_.daemon_ids) || agreement_.daemon_ids.size() > offer_.connection_ids.size())
    return fail(not_penstock("it names an impossible number of lanes"));
  if (wrap.udp_port() == 0 || wrap.udp_port() > 65535 || wrap.udp_host().size() > short_text_max)
    return fail(not_penstock("it names an impossible UDP address"));

  const auto named = uuid_from_bytes(bytes::as_bytes(wrap.uuid()));
  if (!offer_.uuid && !named) return fail(not_penstock("it does not name the new client"));
  agreement_.uuid = offer_.uuid ? *offer_.uuid : *named;
  agreement_.client_ids = offer_.connection_ids;
  agreement_.client_ids.resize(agreement_.daemon_ids.size());
  agreement_.capabilities = common_capabilities(offer_.capabilities, wrap.capabilities());
  agreement_.udp_port = static_cast<std::uint16_t>(wrap.udp_port());
  agreement_.udp_host = wrap.udp_host();
  agreement_.peer_software = short_text(wrap.software());

  auto session_key =
      crypto::rsa_unwrap(*offer_.key, wrap_label(agreement_.uuid, binding_), bytes::as_bytes(wrap.wrapped_key()));
  if (!session_key) return fail(unwrap_failed());
  offer_.key = nullptr;
  transcript_.add(frame.bytes);
  secrets_.emplace(crypto::derive_session_secrets(*std::move(session_key), binding_.key.view(), *suite,
                                                  agreement_.daemon_ids.size()));
  binding_.key.wipe();

  proto::Envelope envelope;
  envelope.mutable_client_proof()->set_mac(
      to_field(crypto::hmac_sha256(secrets_->client_confirm.view(), transcript_.digest())));
  auto proof = encode_frame(envelope);
  transcript_.add(proof);
  state_ = State::wait_proof;
  return proof;
}

ClientSession ClientExchange::take_unproven() {
  PENSTOCK_CHECK(state_ == State::wait_proof && !secrets_->lanes.empty());
  ClientSession session;
  session.agreement = agreement_;
  session.secrets.suite = secrets_->suite;
  session.secrets.lanes = std::exchange(secrets_->lanes, {});
  return session;
}

Result<ClientSession> ClientExchange::handle_proof(const proto::Envelope& envelope) {
  PENSTOCK_CHECK(state_ == State::wait_proof);
  if (envelope.has_failure()) return fail(error_of_failure(envelope.failure()));
  if (!envelope.has_daemon_proof()) return fail(not_penstock("it sends another message than its proof"));
  const auto& proof = envelope.daemon_proof();
  if (!crypto::verify_hmac_sha256(secrets_->daemon_confirm.view(), transcript_.digest(), bytes::as_bytes(proof.mac())))
    return fail({ErrorCode::AUTH_FAILED,
                 "the daemon's proof is wrong: it does not hold the keys of this session",
                 {},
                 ErrorSide::remote});

  ClientSession session{.agreement = std::move(agreement_),
                        .secrets = *std::move(secrets_),
                        .user = short_text(proof.user()),
                        .grants = {},
                        .next_pins = {},
                        .receipt_key = {},
                        .receipt_certification = {}};
  for (const auto& grant : proof.grants()) session.grants.push_back(grant);
  for (const auto& bytes : proof.next_pins()) {
    if (const auto pin = pin_from_bytes(bytes::as_bytes(bytes))) session.next_pins.push_back(*pin);
  }
  const auto key = bytes::as_bytes(proof.receipt_key());
  const auto certification = bytes::as_bytes(proof.receipt_key_signature());
  if (key.size() != session.receipt_key.size())
    return fail({ErrorCode::SIGNATURE_INVALID, "the daemon shows no key for its receipts", {}, ErrorSide::remote});
  std::ranges::copy(key, session.receipt_key.begin());
  if (!verify_receipt_key(daemon_spki_, session.receipt_key, certification)) {
    return fail({ErrorCode::SIGNATURE_INVALID,
                 "the daemon's key for receipts is not certified by its identity key",
                 {},
                 ErrorSide::remote});
  }
  session.receipt_certification.assign(certification.begin(), certification.end());
  secrets_.reset();
  state_ = State::done;
  return session;
}

}  // namespace penstock::control
