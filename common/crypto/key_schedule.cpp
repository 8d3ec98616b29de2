#include "common/crypto/key_schedule.h"

#include <string>
#include <string_view>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/hmac.h"

namespace penstock::crypto {
namespace {

using Secret = SecretArray<traffic_secret_size>;

Secret derive(const Secret& from, std::string_view info) {
  Secret out;
  hkdf_expand_sha256(from.view(), bytes::as_bytes(info), out.writable());
  return out;
}

std::string session_info(std::string_view purpose, AeadAlgorithm suite, std::uint8_t direction, std::uint16_t lane) {
  std::string info = "penstock/1 ";
  info += purpose;
  info += '\0';
  info += static_cast<char>(suite);
  info += static_cast<char>(direction);
  info += static_cast<char>(lane >> 8);
  info += static_cast<char>(lane & 0xff);
  return info;
}

}  // namespace

PacketKeys TrafficSecret::packet_keys() const {
  PacketKeys keys;
  hkdf_expand_sha256(secret_.view(), bytes::as_bytes("key"), keys.key.writable());
  hkdf_expand_sha256(secret_.view(), bytes::as_bytes("iv"), keys.iv);
  return keys;
}

void TrafficSecret::advance() {
  secret_ = derive(secret_, "update");  // the assignment overwrites the old one, the temporary is wiped
  ++epoch_;
}

TrafficSecret TrafficSecret::clone() const {
  TrafficSecret copy{secret_.clone()};
  copy.epoch_ = epoch_;
  return copy;
}

SessionSecrets derive_session_secrets(SecretArray<session_key_size>&& session_key,
                                      std::span<const std::byte, exporter_size> exporter, AeadAlgorithm suite,
                                      std::size_t lane_count) {
  PENSTOCK_CHECK(lane_count >= 1 && lane_count <= lanes_max);
  const SecretArray<session_key_size> consumed = std::move(session_key);  // wipes the caller's; ours goes at return
  const Secret prk = hkdf_extract_sha256(exporter, consumed.view());

  SessionSecrets secrets{.suite = suite,
                         .client_confirm = derive(prk, session_info("client-confirm", suite, 0, 0)),
                         .daemon_confirm = derive(prk, session_info("daemon-confirm", suite, 0, 0)),
                         .lanes = {}};
  secrets.lanes.reserve(lane_count);
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    const auto lane_secret = [&](Direction direction) {
      return TrafficSecret{derive(
          prk, session_info("data", suite, static_cast<std::uint8_t>(direction), static_cast<std::uint16_t>(lane)))};
    };
    secrets.lanes.push_back({.client_to_daemon = lane_secret(Direction::client_to_daemon),
                             .daemon_to_client = lane_secret(Direction::daemon_to_client)});
  }
  return secrets;
}

}  // namespace penstock::crypto
