#include "common/crypto/secret_bytes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <new>
#include <set>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/crypto/hmac.h"
#include "common/crypto/key_schedule.h"
#include "common/crypto/random.h"
#include "tests/printers.h"

namespace penstock::crypto {
namespace {

template <std::size_t N>
SecretArray<N> filled(std::byte value) {
  SecretArray<N> secret;
  std::fill(secret.writable().begin(), secret.writable().end(), value);
  return secret;
}

bool all_zero(std::span<const std::byte> data) {
  return std::all_of(data.begin(), data.end(), [](std::byte b) { return b == std::byte{0}; });
}

TEST_CASE("secret array: its bytes are gone once it is destroyed") {
  alignas(SecretArray<32>) std::array<std::byte, sizeof(SecretArray<32>)> storage;
  auto* secret = new (storage.data()) SecretArray<32>(filled<32>(std::byte{0x77}));
  CHECK_FALSE(all_zero(secret->view()));
  secret->~SecretArray();
  CHECK(all_zero(storage));
}

TEST_CASE("secret array: a move leaves nothing at its source") {
  auto a = filled<32>(std::byte{1});
  SecretArray<32> b{std::move(a)};
  CHECK(all_zero(a.view()));  // NOLINT: what a moved-from secret holds is the promise here
  CHECK(b == filled<32>(std::byte{1}));
  SecretArray<32> c;
  c = std::move(b);
  CHECK(all_zero(b.view()));  // NOLINT: likewise
  CHECK(c == filled<32>(std::byte{1}));
  auto& alias = c;
  c = std::move(alias);
  CHECK(c == filled<32>(std::byte{1}));
  CHECK(c.clone() == c);
}

TEST_CASE("secret bytes: move takes the block, wipe zeroes it, equality minds the length") {
  SecretBytes a{bytes::as_bytes("secret")};
  const std::byte* const block = a.view().data();
  SecretBytes b{std::move(a)};
  CHECK(b.view().data() == block);
  CHECK(a.empty());  // NOLINT: the promise
  CHECK(b == SecretBytes{bytes::as_bytes("secret")});
  CHECK_FALSE(b == SecretBytes{bytes::as_bytes("secrets")});
  CHECK_FALSE(b == SecretBytes{bytes::as_bytes("secreT")});
  b.wipe();
  CHECK(b.size() == 6);
  CHECK(all_zero(b.view()));
  CHECK(SecretBytes{}.empty());
}

TEST_CASE("constant-time equality: every single differing byte counts") {
  std::array<std::byte, 32> a{};
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto b = a;
    b[i] = std::byte{0x80};
    CHECK_FALSE(constant_time_equal(a, b));
  }
  CHECK(constant_time_equal(a, a));
  CHECK(constant_time_equal({}, {}));
  CHECK_FALSE(constant_time_equal(a, std::span{a}.first(31)));
}

TEST_CASE("random bytes: two draws differ, and long ones are filled to the end") {
  CHECK(random_array<32>() != random_array<32>());
  CHECK(random_u64() != random_u64());
  std::vector<std::byte> large(100'000);
  random_bytes(large);
  CHECK_FALSE(all_zero(std::span{large}.last(64)));
}

TEST_CASE("hmac-sha256: the vectors of RFC 4231, whole MACs only") {
  const std::array<std::byte, 20> key = [] {
    std::array<std::byte, 20> k{};
    k.fill(std::byte{0x0b});
    return k;
  }();
  const auto mac = hmac_sha256(key, bytes::as_bytes("Hi There"));
  CHECK(bytes::to_hex(mac) == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(bytes::to_hex(hmac_sha256(bytes::as_bytes("Jefe"), bytes::as_bytes("what do ya want for nothing?"))) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(verify_hmac_sha256(key, bytes::as_bytes("Hi There"), mac));
  CHECK_FALSE(verify_hmac_sha256(key, bytes::as_bytes("Hi there"), mac));
  CHECK_FALSE(verify_hmac_sha256(key, bytes::as_bytes("Hi There"), std::span{mac}.first(31)));
  CHECK_FALSE(verify_hmac_sha256(key, bytes::as_bytes("Hi There"), {}));
  for (std::size_t i = 0; i < mac.size(); ++i) {
    auto forged = mac;
    forged[i] ^= std::byte{1};
    CHECK_FALSE(verify_hmac_sha256(key, bytes::as_bytes("Hi There"), forged));
  }
}

TEST_CASE("hkdf-sha256: test cases 1 to 3 of RFC 5869") {
  struct Case {
    const char* ikm;
    const char* salt;
    const char* info;
    const char* prk;
    const char* okm;
  };
  const Case cases[] = {{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
                         "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
                        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2"
                         "e2f303132333435363738"
                         "393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
                         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8"
                         "e8f909192939495969798"
                         "999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcddd"
                         "edfe0e1e2e3e4e5e6e7e8"
                         "e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                         "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590"
                         "e09da3275600c2f09b836"
                         "7793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
                        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
                         "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"}};
  for (const Case& c : cases) {
    const auto prk = hkdf_extract_sha256(*bytes::from_hex(c.salt), *bytes::from_hex(c.ikm));
    CHECK(bytes::to_hex(prk.view()) == c.prk);
    std::vector<std::byte> okm(std::string_view{c.okm}.size() / 2);
    hkdf_expand_sha256(prk.view(), *bytes::from_hex(c.info), okm);
    CHECK(bytes::to_hex(okm) == c.okm);
  }
}

SessionSecrets session(std::byte k, std::byte exporter, AeadAlgorithm suite = AeadAlgorithm::aes_256_gcm) {
  return derive_session_secrets(filled<32>(k), filled<32>(exporter).view(), suite, 4);
}

TEST_CASE("key schedule: K is consumed") {
  auto k = filled<session_key_size>(std::byte{9});
  (void)derive_session_secrets(std::move(k), filled<32>(std::byte{1}).view(), AeadAlgorithm::aes_256_gcm, 1);
  CHECK(all_zero(k.view()));  // NOLINT: the promise
}

TEST_CASE("key schedule: no two of a session's keys and IVs, over lanes, directions and epochs, are alike") {
  std::set<std::string> seen;
  std::size_t count = 0;
  const auto add = [&](std::span<const std::byte> secret) {
    seen.insert(bytes::to_hex(secret));
    ++count;
  };
  for (const auto suite : {AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305}) {
    SessionSecrets secrets = session(std::byte{1}, std::byte{2}, suite);
    add(secrets.client_confirm.view());
    add(secrets.daemon_confirm.view());
    for (auto& lane : secrets.lanes)
      for (TrafficSecret* secret : {&lane.client_to_daemon, &lane.daemon_to_client})
        for (std::uint32_t epoch = 0; epoch < 5; ++epoch, secret->advance()) {
          CHECK(secret->epoch() == epoch);
          const PacketKeys keys = secret->packet_keys();
          add(keys.key.view());
          add(keys.iv);
        }
  }
  CHECK(count == 2 * (2 + 4 * 2 * 5 * 2));
  CHECK(seen.size() == count);
}

TEST_CASE("key schedule: both ends agree, and neither K nor the TLS exporter alone gives the keys") {
  const auto first_key = [](const SessionSecrets& s) {
    return bytes::to_hex(s.lanes[0].client_to_daemon.packet_keys().key.view());
  };
  const auto ours = first_key(session(std::byte{1}, std::byte{2}));
  CHECK(first_key(session(std::byte{1}, std::byte{2})) == ours);
  CHECK(first_key(session(std::byte{3}, std::byte{2})) != ours);
  CHECK(first_key(session(std::byte{1}, std::byte{3})) != ours);
}

TEST_CASE("key schedule: packet keys are wiped when they go") {
  alignas(PacketKeys) std::array<std::byte, sizeof(PacketKeys)> storage;
  auto* keys =
      new (storage.data()) PacketKeys(session(std::byte{1}, std::byte{2}).lanes[0].client_to_daemon.packet_keys());
  CHECK_FALSE(all_zero(keys->key.view()));
  CHECK_FALSE(all_zero(keys->iv));
  keys->~PacketKeys();
  CHECK(all_zero(storage));
}

}  // namespace
}  // namespace penstock::crypto
