#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/gate/client_exchange.h"
#include "control/gate/daemon_exchange.h"
#include "tests/unit/control/gate/fixtures.h"

// A key exchange between a client and a daemon in one process, with somebody in between who may change what passes.

namespace penstock::control::test {

inline Frame parse(const std::string& bytes) {
  Frame frame;
  frame.bytes = bytes;
  REQUIRE(frame.envelope.ParseFromString(bytes.substr(frame_prefix_size)));
  return frame;
}

/// The exporters of one TLS connection, as both its ends know them.
struct Connection {
  std::array<std::byte, 32> bind = crypto::random_array<32>();
  std::array<std::byte, 32> key = crypto::random_array<32>();
  [[nodiscard]] ChannelBinding binding(const Pin& daemon = daemon_identity().pin()) const {
    return {.bind = bind, .key = crypto::SecretArray<32>{key}, .daemon = daemon};
  }
};

inline std::vector<ConnectionId> ids(std::size_t count, std::uint64_t first) {
  std::vector<ConnectionId> all;
  for (std::uint64_t i = 0; i < count; ++i) all.push_back({first + i});
  return all;
}

inline ClientOffer client_offer(std::optional<Uuid> uuid, const Token* token = nullptr,
                                const crypto::RsaPrivateKey& key = client_key()) {
  return {.key = &key,
          .uuid = uuid,
          .token = token,
          .client_name = "laptop",
          .suites = {crypto::AeadAlgorithm::aes_256_gcm, crypto::AeadAlgorithm::chacha20_poly1305},
          .connection_ids = ids(4, 100),
          .capabilities = {"zstd", "fec"},
          .software = "test client"};
}

inline DaemonOffer daemon_offer() {
  return {.identity = &daemon_identity(),
          .receipt_key = &receipt_key(),
          .suites = {crypto::AeadAlgorithm::aes_256_gcm, crypto::AeadAlgorithm::chacha20_poly1305},
          .connection_ids = ids(2, 900),
          .udp_port = 7440,
          .udp_host = "",
          .capabilities = {"fec"},
          .next_pins = {Pin{crypto::random_array<32>()}},
          .software = "test daemon"};
}

inline ClientExchange client_of(ClientOffer offer, const Connection& connection) {
  const auto spki = daemon_identity().spki();
  return {std::move(offer), connection.binding(), {spki.begin(), spki.end()}};
}
inline DaemonExchange daemon_on(const Connection& connection, DaemonOffer offer = daemon_offer()) {
  return {std::move(offer), connection.binding(), crypto::SecretArray<32>{crypto::random_array<32>()}, make_uuid()};
}

using Tamper = std::function<void(std::string&)>;
inline const Tamper untouched = [](std::string&) {};

struct Outcome {
  std::optional<ClientSession> client;
  std::optional<DaemonSession> daemon;
  std::optional<Error> client_error;
  std::optional<Refusal> refusal;
};

struct Tampering {
  Tamper hello = untouched;
  Tamper wrap = untouched;
  Tamper proof = untouched;
  Tamper answer = untouched;
};

/// A whole exchange, with somebody in between who may change what passes.
inline Outcome run(ClientOffer offer, Registry& registry, const Tampering& tampering = {},
                   DaemonOffer ours = daemon_offer(), UnixSeconds now = noon,
                   std::optional<ClientSession>* ahead = nullptr) {
  const Connection connection;
  auto client = client_of(std::move(offer), connection);
  auto daemon = daemon_on(connection, std::move(ours));
  Outcome outcome;
  const auto stop = [&outcome](auto& member, const auto& error) {
    member = error;
    return std::move(outcome);
  };

  auto bytes = client.hello();
  tampering.hello(bytes);
  Frame frame;
  if (!frame.envelope.ParseFromString(bytes.substr(frame_prefix_size))) return outcome;
  frame.bytes = bytes;
  if (auto known = daemon.handle_hello(frame, registry, now); !known) return stop(outcome.refusal, known.error());
  auto wrap = daemon.make_wrap();
  if (!wrap) return stop(outcome.refusal, wrap.error());
  tampering.wrap(*wrap);
  auto proof = client.handle_wrap(parse(*wrap));
  if (!proof) return stop(outcome.client_error, proof.error());
  tampering.proof(*proof);
  if (ahead != nullptr) *ahead = client.take_unproven();
  auto accepted = daemon.handle_proof(parse(*proof), registry, now);
  if (!accepted) return stop(outcome.refusal, accepted.error());
  outcome.daemon = std::move(accepted->session);
  tampering.answer(accepted->proof);
  auto session = client.handle_proof(parse(accepted->proof).envelope);
  if (!session) return stop(outcome.client_error, session.error());
  outcome.client = *std::move(session);
  return outcome;
}

/// Changes one field of the message and keeps the framing right.
template <class Change>
Tamper edit(Change change) {
  return [change](std::string& bytes) {
    proto::Envelope envelope;
    REQUIRE(envelope.ParseFromString(bytes.substr(frame_prefix_size)));
    change(envelope);
    bytes = encode_frame(envelope);
  };
}
inline void flip(std::string& text, std::size_t at = 0) { text[at] = static_cast<char>(text[at] ^ 1); }

}  // namespace penstock::control::test
