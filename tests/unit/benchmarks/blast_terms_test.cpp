#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "tools/benchmarks/blast/terms.h"

namespace penstock::benchmarks {
namespace {

BlastTerms some_terms() {
  return {.aead = "openssl", .total = 5 * MiB + 1, .datagram_size = 1471, .report_every = MiB};
}

TEST_CASE("blast: terms arrive as they were said, in the clear and with the longest name") {
  for (const std::string& name : {std::string{}, std::string{"ipsec-mb"}, std::string(blast_aead_name_max, 'x')}) {
    BlastTerms terms = some_terms();
    terms.aead = name;
    const auto decoded = decode_terms(encode_terms(terms));
    REQUIRE(decoded.ok());
    CHECK(*decoded == terms);
  }
}

TEST_CASE("blast: terms that no blast has are refused") {
  std::vector<BlastTerms> bad(6, some_terms());
  bad[0].total = 0;
  bad[1].total = blast_bytes_max + 1;
  bad[2].datagram_size = 19 + 16;  // room for nothing
  bad[3].datagram_size = 65508;    // more than UDP carries
  bad[4].datagram_size = 0;
  bad[5].report_every = 0;
  for (const BlastTerms& terms : bad) CHECK_FALSE(decode_terms(encode_terms(terms)).ok());
  BlastTerms least = some_terms();
  least.total = 1;
  least.datagram_size = 19 + 16 + 1;
  CHECK(decode_terms(encode_terms(least)).ok());
}

TEST_CASE("blast: another program's bytes are no terms") {
  auto bytes = encode_terms(some_terms());
  bytes[0] ^= std::byte{1};
  CHECK_FALSE(decode_terms(bytes).ok());
}

TEST_CASE("blast: progress arrives as it was said, and can not claim more than passed") {
  const BlastProgress progress{.done = true, .passed = 7 * MiB, .arrived = 6 * MiB, .socket_drops = 3};
  const auto decoded = decode_progress(encode_progress(progress));
  REQUIRE(decoded.ok());
  CHECK(*decoded == progress);
  CHECK_FALSE(decode_progress(encode_progress({.passed = 1, .arrived = 2})).ok());
  CHECK_FALSE(decode_progress(encode_progress({.passed = blast_bytes_max + 1})).ok());
  auto bytes = encode_progress(progress);
  bytes[0] = std::byte{2};
  CHECK_FALSE(decode_progress(bytes).ok());
}

}  // namespace
}  // namespace penstock::benchmarks
