#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "common/bytes/view.h"
#include "common/digest/sha256.h"

namespace penstock::control {

/// SHA-256 over the bytes of every control message so far, both directions, prefixes included, in the order in which
/// the key exchange sends them: what the proofs cover.
class Transcript {
 public:
  void add(std::string_view frame_bytes) { hasher_.update(bytes::as_bytes(frame_bytes)); }
  [[nodiscard]] std::array<std::byte, 32> digest() const { return hasher_.digest().bytes; }

 private:
  digest::Sha256Hasher hasher_;
};

}  // namespace penstock::control
