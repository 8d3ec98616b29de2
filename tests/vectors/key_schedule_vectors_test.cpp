#include "common/crypto/key_schedule.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "common/bytes/hex.h"
#include "common/crypto/nonce.h"
#include "tests/printers.h"
#include "tests/vectors/vector_file.h"

namespace penstock::crypto {
namespace {

TEST_CASE("key schedule vectors: every secret, key, IV and nonce is what the written protocol gives") {
  std::optional<SessionSecrets> session;
  int sessions = 0;
  int keys_checked = 0;
  for (const auto& record : tests::read_vector_file("key_schedule.txt")) {
    if (record.text("record") == "session") {
      const auto k = record.bytes("k");
      const auto exporter = record.bytes("exporter");
      session = derive_session_secrets(SecretArray<32>{std::span<const std::byte, 32>{k}},
                                       std::span<const std::byte, 32>{exporter},
                                       static_cast<AeadAlgorithm>(std::stoi(record.text("suite"))), lanes_max);
      CHECK(bytes::to_hex(session->client_confirm.view()) == record.text("client_confirm"));
      CHECK(bytes::to_hex(session->daemon_confirm.view()) == record.text("daemon_confirm"));
      ++sessions;
      continue;
    }
    REQUIRE(session.has_value());
    const LaneSecrets& lane = session->lanes.at(std::stoul(record.text("lane")));
    TrafficSecret secret = (record.text("direction") == "1" ? lane.client_to_daemon : lane.daemon_to_client).clone();
    const auto epoch = std::stoul(record.text("epoch"));
    while (secret.epoch() < epoch) secret.advance();
    const PacketKeys keys = secret.packet_keys();
    CHECK(bytes::to_hex(keys.key.view()) == record.text("key"));
    CHECK(bytes::to_hex(keys.iv) == record.text("iv"));
    CHECK(bytes::to_hex(packet_nonce(keys.iv, PacketNumber{(std::uint64_t{1} << 32) + 5})) == record.text("nonce"));
    ++keys_checked;
  }
  CHECK(sessions == 6);
  CHECK(keys_checked == 6 * 3 * 2 * 3);
}

}  // namespace
}  // namespace penstock::crypto
