#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/digest/digest.h"

struct XXH3_state_s;

namespace penstock::digest {

[[nodiscard]] Xxh3 xxh3(std::span<const std::byte> data);

/// XXH3-128 of bytes that come in pieces; the state is allocated once and reused by reset(). Threads: one owner.
class Xxh3Hasher {
 public:
  Xxh3Hasher();
  void update(std::span<const std::byte> data);
  /// Of all bytes so far; more may follow.
  [[nodiscard]] Xxh3 digest() const;
  void reset();

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace penstock::digest
