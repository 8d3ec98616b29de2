#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::digest {

/// Numbers go into journals, messages and receipts: frozen.
enum class Algorithm : std::uint8_t { xxh3 = 1, sha256 = 2 };

[[nodiscard]] std::string_view to_string(Algorithm algorithm);  // "xxh3", "sha256": as in `--digest`
[[nodiscard]] std::optional<Algorithm> algorithm_named(std::string_view name);
[[nodiscard]] constexpr std::size_t digest_size(Algorithm algorithm) { return algorithm == Algorithm::xxh3 ? 16 : 32; }

/// XXH3-128 in canonical big-endian form, as `xxhsum -H2` prints it. Finds accidents, proves nothing against malice.
struct Xxh3 {
  std::array<std::byte, 16> bytes{};
  auto operator<=>(const Xxh3&) const = default;
};

struct Sha256 {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const Sha256&) const = default;
};

/// A digest of either algorithm; prints and parses as `alg:hex`.
class Digest {
 public:
  Digest(const Xxh3& digest);    // NOLINT: implicit by design
  Digest(const Sha256& digest);  // NOLINT: implicit by design
  /// nullopt unless `bytes` has exactly the algorithm's size.
  [[nodiscard]] static std::optional<Digest> from_bytes(Algorithm algorithm, std::span<const std::byte> bytes);
  [[nodiscard]] static std::optional<Digest> parse(std::string_view text);

  [[nodiscard]] Algorithm algorithm() const { return algorithm_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.data(), digest_size(algorithm_)}; }
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const Digest&) const = default;

 private:
  Algorithm algorithm_;
  std::array<std::byte, 32> bytes_{};  // unused bytes stay zero, so that comparison can be the default one
};

}  // namespace penstock::digest
