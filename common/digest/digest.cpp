#include "common/digest/digest.h"

#include <algorithm>

#include "common/bytes/hex.h"
#include "common/check.h"

namespace penstock::digest {

std::string_view to_string(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::xxh3:
      return "xxh3";
    case Algorithm::sha256:
      return "sha256";
  }
  PENSTOCK_UNREACHABLE("a digest algorithm has a name");
}

std::optional<Algorithm> algorithm_named(std::string_view name) {
  for (const Algorithm algorithm : {Algorithm::xxh3, Algorithm::sha256})
    if (to_string(algorithm) == name) return algorithm;
  return std::nullopt;
}

Digest::Digest(const Xxh3& digest) : algorithm_(Algorithm::xxh3) {
  std::copy(digest.bytes.begin(), digest.bytes.end(), bytes_.begin());
}

Digest::Digest(const Sha256& digest) : algorithm_(Algorithm::sha256), bytes_(digest.bytes) {}

std::optional<Digest> Digest::from_bytes(Algorithm algorithm, std::span<const std::byte> bytes) {
  if (bytes.size() != digest_size(algorithm)) return std::nullopt;
  Digest digest{Sha256{}};
  digest.algorithm_ = algorithm;
  std::copy(bytes.begin(), bytes.end(), digest.bytes_.begin());
  return digest;
}

std::optional<Digest> Digest::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto algorithm = algorithm_named(text.substr(0, colon));
  const auto bytes = bytes::from_hex(text.substr(colon + 1));
  if (!algorithm || !bytes) return std::nullopt;
  return from_bytes(*algorithm, *bytes);
}

std::string Digest::to_string() const {
  return std::string{digest::to_string(algorithm_)} + ':' + bytes::to_hex(bytes());
}

}  // namespace penstock::digest
