#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/digest/digest.h"

struct evp_md_ctx_st;

namespace penstock::digest {

[[nodiscard]] Sha256 sha256(std::span<const std::byte> data);

/// SHA-256 (FIPS 180-4) of bytes that come in pieces; the state is allocated once and reused by reset().
/// Threads: one owner.
class Sha256Hasher {
 public:
  Sha256Hasher();
  void update(std::span<const std::byte> data);
  /// Of all bytes so far; more may follow.
  [[nodiscard]] Sha256 digest() const;
  void reset();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
  std::unique_ptr<evp_md_ctx_st, Free> scratch_;  // digest() finishes a copy, so that update() may go on
};

}  // namespace penstock::digest
