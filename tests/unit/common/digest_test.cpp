#include "common/digest/digest.h"

#include <doctest/doctest.h>

#include <vector>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "common/random.h"
#include "tests/printers.h"

namespace penstock::digest {
namespace {

TEST_CASE("sha256: the examples of FIPS 180") {
  CHECK(bytes::to_hex(sha256(bytes::as_bytes("")).bytes) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(bytes::to_hex(sha256(bytes::as_bytes("abc")).bytes) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("xxh3: canonical big-endian form, as xxhsum -H2 prints it") {
  CHECK(bytes::to_hex(xxh3(bytes::as_bytes("")).bytes) == "99aa06d3014798d86001c324468d497f");
  CHECK(bytes::to_hex(xxh3(bytes::as_bytes("abc")).bytes) == "06b05ab6733a618578af5f94892f3950");
}

template <class Hasher, class OneShot>
void check_streaming(OneShot one_shot) {
  Rng rng{31};
  Hasher hasher;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::byte> data(rng.below(5000));
    rng.fill(data);
    hasher.reset();
    hasher.update({});
    for (std::size_t at = 0; at < data.size();) {
      const std::size_t size = std::min<std::size_t>(data.size() - at, rng.below(700));
      hasher.update(std::span{data}.subspan(at, size));
      at += size;
      // Asking on the way changes nothing.
      REQUIRE(hasher.digest() == one_shot(std::span<const std::byte>{data}.first(at)));
    }
    REQUIRE(hasher.digest() == one_shot(data));
  }
}

TEST_CASE("digests: bytes in pieces of any size give the digest of the whole, at every point on the way") {
  check_streaming<Xxh3Hasher>([](std::span<const std::byte> data) { return xxh3(data); });
  check_streaming<Sha256Hasher>([](std::span<const std::byte> data) { return sha256(data); });
}

TEST_CASE("digest: prints as alg:hex and parses back; anything else is refused") {
  for (const Digest& digest : {Digest{xxh3(bytes::as_bytes("x"))}, Digest{sha256(bytes::as_bytes("x"))}}) {
    CHECK(Digest::parse(digest.to_string()) == digest);
    CHECK(Digest::from_bytes(digest.algorithm(), digest.bytes()) == digest);
    CHECK_FALSE(Digest::from_bytes(digest.algorithm(), digest.bytes().first(8)).has_value());
  }
  CHECK(Digest{xxh3(bytes::as_bytes("abc"))}.to_string() == "xxh3:06b05ab6733a618578af5f94892f3950");
  for (const auto* text : {"", ":", "sha256", "sha256:", "sha256:00", "md5:00", "xxh3:06b05ab6733a618578af5f94892f39",
                           "xxh3:06b05ab6733a618578af5f94892f395g", "06b05ab6733a618578af5f94892f3950"})
    CHECK_FALSE(Digest::parse(text).has_value());
  CHECK_FALSE(Digest{Xxh3{}} == Digest{Sha256{}});
  CHECK(algorithm_named("sha256") == Algorithm::sha256);
  CHECK_FALSE(algorithm_named("SHA256").has_value());
}

}  // namespace
}  // namespace penstock::digest
