#include "common/crypto/aead.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

#include "common/crypto/aead_backends.h"
#include "common/crypto/nonce.h"
#include "common/random.h"
#include "tests/printers.h"

namespace penstock::crypto {
namespace {

using Bytes = std::vector<std::byte>;
using KeyBytes = std::array<std::byte, aead_key_size>;

Bytes random_vector(Rng& rng, std::size_t size) {
  Bytes data(size);
  rng.fill(data);
  return data;
}

template <class Array>
Array random_value(Rng& rng) {
  Array value;
  rng.fill(value);
  return value;
}

Bytes seal(AeadKey& key, const Nonce& nonce, const Bytes& aad, const Bytes& plaintext) {
  Bytes sealed(plaintext.size() + aead_tag_size);
  key.seal(nonce, aad, plaintext, sealed.data());
  return sealed;
}

TEST_CASE("aead: both algorithms have a backend, names are unique, and a named one is found") {
  const auto backends = aead_backends();
  for (const AeadBackend* backend : backends) {
    CHECK(aead_backend_named(backend->name()) == backend);
    CHECK(std::count_if(backends.begin(), backends.end(), [&](auto* b) { return b->name() == backend->name(); }) == 1);
  }
  for (const auto algorithm : {AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305})
    CHECK(aead_backend_for(algorithm).algorithm() == algorithm);
  CHECK(aead_backend_named("openssl") != nullptr);
  CHECK(aead_backend_named("libsodium") != nullptr);
  CHECK(aead_backend_named("rot13") == nullptr);
  CHECK(aead_preference()[0] != aead_preference()[1]);
  // Every processor that has the best has the oldest.
  CHECK((ipsec_mb_backend(IpsecMbCode::avx) != nullptr) == (ipsec_mb_backend() != nullptr));
  CHECK(aead_backends().front()->algorithm() == aead_preference()[0]);
}

/// Those of this machine, and what the fastest would be on processors without AVX-512 or AVX2.
std::vector<const AeadBackend*> backends_and_older_codes() {
  const auto here = aead_backends();
  std::vector<const AeadBackend*> all(here.begin(), here.end());
  for (const auto code : {IpsecMbCode::avx2, IpsecMbCode::avx})
    if (const AeadBackend* const older = ipsec_mb_backend(code)) all.push_back(older);
  return all;
}

TEST_CASE("aead: what one backend seals, every other of its algorithm opens, at every size from 0 to 1500") {
  Rng rng{21};
  for (const AeadBackend* sealer : backends_and_older_codes()) {
    const auto key_bytes = random_value<KeyBytes>(rng);
    const auto sealing = sealer->make_key(key_bytes);
    for (const AeadBackend* opener : backends_and_older_codes()) {
      if (opener->algorithm() != sealer->algorithm()) continue;
      const auto opening = opener->make_key(key_bytes);
      for (std::size_t size = 0; size <= 1500; ++size) {
        const auto nonce = random_value<Nonce>(rng);
        const Bytes aad = random_vector(rng, size % 3 == 0 ? 13 : size % 3 == 1 ? 19 : rng.below(40));
        const Bytes plaintext = random_vector(rng, size);
        const Bytes sealed = seal(*sealing, nonce, aad, plaintext);
        Bytes opened(size);
        const bool authentic = opening->open(nonce, aad, sealed, opened.data());
        if (!authentic || opened != plaintext)
          FAIL(sealer->name() << " to " << opener->name() << " at " << size << " bytes");
      }
    }
  }
}

TEST_CASE("aead: backends of one algorithm seal to the same bytes, so that a seed replays with any of them") {
  Rng rng{22};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    const auto key_bytes = random_value<KeyBytes>(rng);
    const auto key = backend->make_key(key_bytes);
    const auto reference = aead_backend_for(backend->algorithm()).make_key(key_bytes);
    for (int i = 0; i < 300; ++i) {
      const auto nonce = random_value<Nonce>(rng);
      const Bytes aad = random_vector(rng, rng.below(64));
      const Bytes plaintext = random_vector(rng, rng.below(9000));
      REQUIRE(seal(*key, nonce, aad, plaintext) == seal(*reference, nonce, aad, plaintext));
    }
  }
}

TEST_CASE("aead: sealing and opening in place give the same as with two buffers") {
  Rng rng{23};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    CAPTURE(backend->name());
    const auto key = backend->make_key(random_value<KeyBytes>(rng));
    for (const std::size_t size : {0UL, 1UL, 15UL, 16UL, 17UL, 255UL, 1400UL, 1500UL, 65000UL}) {
      const auto nonce = random_value<Nonce>(rng);
      const Bytes aad = random_vector(rng, 19);
      const Bytes plaintext = random_vector(rng, size);
      Bytes buffer = plaintext;
      buffer.resize(size + aead_tag_size);
      key->seal(nonce, aad, std::span{buffer}.first(size), buffer.data());
      CHECK(buffer == seal(*key, nonce, aad, plaintext));
      CHECK(key->open(nonce, aad, buffer, buffer.data()));
      CHECK(std::equal(plaintext.begin(), plaintext.end(), buffer.begin()));
    }
  }
}

TEST_CASE("aead: neither sealing nor opening touches a byte beyond its output") {
  Rng rng{24};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    CAPTURE(backend->name());
    const auto key = backend->make_key(random_value<KeyBytes>(rng));
    for (std::size_t size = 0; size < 200; ++size) {
      constexpr std::byte guard{0xa5};
      const Bytes plaintext = random_vector(rng, size);
      Bytes sealed(size + aead_tag_size + 32, guard);
      key->seal(Nonce{}, {}, plaintext, sealed.data());
      REQUIRE(std::all_of(sealed.end() - 32, sealed.end(), [](std::byte b) { return b == guard; }));
      Bytes opened(size + 32, guard);
      REQUIRE(key->open(Nonce{}, {}, std::span{sealed}.first(size + aead_tag_size), opened.data()));
      REQUIRE(std::all_of(opened.end() - 32, opened.end(), [](std::byte b) { return b == guard; }));
    }
  }
}

/// Opens a packet that must be refused, and checks that no plaintext is left in the output.
bool is_refused_without_plaintext(AeadKey& key, const Nonce& nonce, const Bytes& aad, const Bytes& sealed,
                                  const Bytes& plaintext) {
  constexpr std::byte before{0x5a};
  Bytes out(sealed.size() - aead_tag_size, before);
  if (key.open(nonce, aad, sealed, out.data())) return false;
  const bool wiped = std::all_of(out.begin(), out.end(), [](std::byte b) { return b == std::byte{0}; });
  const bool untouched = std::all_of(out.begin(), out.end(), [](std::byte b) { return b == before; });
  return plaintext.empty() || wiped || untouched;
}

TEST_CASE("aead: every flipped bit of tag, ciphertext, aad and nonce is refused by every backend") {
  Rng rng{25};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    CAPTURE(backend->name());
    const auto key = backend->make_key(random_value<KeyBytes>(rng));
    for (const std::size_t size : {0UL, 1UL, 16UL, 33UL, 300UL}) {
      const auto nonce = random_value<Nonce>(rng);
      const Bytes aad = random_vector(rng, 19);
      const Bytes plaintext = random_vector(rng, size);
      const Bytes sealed = seal(*key, nonce, aad, plaintext);
      for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {  // the last 128 are the tag's 16 bytes
        Bytes forged = sealed;
        forged[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        REQUIRE(is_refused_without_plaintext(*key, nonce, aad, forged, plaintext));
      }
      for (std::size_t bit = 0; bit < aad.size() * 8; ++bit) {
        Bytes forged = aad;
        forged[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        REQUIRE(is_refused_without_plaintext(*key, nonce, forged, sealed, plaintext));
      }
      for (std::size_t bit = 0; bit < nonce.size() * 8; ++bit) {
        Nonce forged = nonce;
        forged[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        REQUIRE(is_refused_without_plaintext(*key, forged, aad, sealed, plaintext));
      }
      // After all these refusals the genuine packet still opens: a forgery affects no other packet.
      Bytes opened(size);
      REQUIRE(key->open(nonce, aad, sealed, opened.data()));
      REQUIRE(opened == plaintext);
    }
  }
}

TEST_CASE("aead: a forgery opened in place leaves no plaintext behind") {
  Rng rng{26};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    CAPTURE(backend->name());
    const auto key = backend->make_key(random_value<KeyBytes>(rng));
    const Bytes plaintext(400, std::byte{'P'});
    Bytes buffer = seal(*key, Nonce{}, {}, plaintext);
    buffer.back() ^= std::byte{1};
    CHECK_FALSE(key->open(Nonce{}, {}, buffer, buffer.data()));
    CHECK(std::search_n(buffer.begin(), buffer.end(), 8, std::byte{'P'}) == buffer.end());
  }
}

TEST_CASE("aead: a changed aad length, a cut or lengthened packet and another key are refused") {
  Rng rng{27};
  for (const AeadBackend* backend : backends_and_older_codes()) {
    CAPTURE(backend->name());
    const auto key = backend->make_key(random_value<KeyBytes>(rng));
    const auto other = backend->make_key(random_value<KeyBytes>(rng));
    const Bytes aad = random_vector(rng, 19);
    const Bytes plaintext = random_vector(rng, 100);
    const Bytes sealed = seal(*key, Nonce{}, aad, plaintext);
    CHECK(is_refused_without_plaintext(*other, Nonce{}, aad, sealed, plaintext));
    CHECK(is_refused_without_plaintext(*key, Nonce{}, Bytes(aad.begin(), aad.end() - 1), sealed, plaintext));
    CHECK(is_refused_without_plaintext(*key, Nonce{}, {}, sealed, plaintext));
    Bytes longer = sealed;
    longer.push_back(std::byte{0});
    CHECK(is_refused_without_plaintext(*key, Nonce{}, aad, longer, plaintext));
    Bytes out(sealed.size());
    for (std::size_t size = 0; size < sealed.size(); ++size)
      REQUIRE_FALSE(key->open(Nonce{}, aad, std::span{sealed}.first(size), out.data()));
  }
}

TEST_CASE("aead: keys of one backend work on several threads at once, one owner each") {
  for (const AeadBackend* backend : backends_and_older_codes()) {
    std::array<bool, 3> good{};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < good.size(); ++t)
      threads.emplace_back([&, t] {
        Rng rng{100 + t};
        const auto key = backend->make_key(random_value<KeyBytes>(rng));
        bool all = true;
        for (int i = 0; i < 500; ++i) {
          const auto nonce = random_value<Nonce>(rng);
          const Bytes plaintext = random_vector(rng, 700);
          const Bytes sealed = seal(*key, nonce, {}, plaintext);
          Bytes opened(plaintext.size());
          all = all && key->open(nonce, {}, sealed, opened.data()) && opened == plaintext;
        }
        good[t] = all;
      });
    for (auto& thread : threads) thread.join();
    CHECK(std::all_of(good.begin(), good.end(), [](bool g) { return g; }));
  }
}

TEST_CASE("nonce: the number is xored big-endian into the last eight bytes, and no two numbers share a nonce") {
  Nonce iv;
  for (std::size_t i = 0; i < iv.size(); ++i) iv[i] = static_cast<std::byte>(0x10 + i);
  CHECK(packet_nonce(iv, PacketNumber{0}) == iv);
  const Nonce nonce = packet_nonce(iv, PacketNumber{0x0102030405060708});
  for (std::size_t i = 0; i < 4; ++i) CHECK(nonce[i] == iv[i]);
  for (std::size_t i = 4; i < 12; ++i) CHECK(nonce[i] == (iv[i] ^ static_cast<std::byte>(i - 3)));
  for (int bit = 0; bit < 64; ++bit) CHECK(packet_nonce(iv, PacketNumber{std::uint64_t{1} << bit}) != iv);
}

}  // namespace
}  // namespace penstock::crypto
