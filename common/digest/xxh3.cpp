#include "common/digest/xxh3.h"

#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
// The library's plain functions are built for every x86-64, that is for SSE2; these choose by the processor they run
// on. The header gives the plain names to them. Same digests, five times as fast where there is AVX-512.
#include <xxh_x86dispatch.h>
#endif

#include "common/check.h"

namespace penstock::digest {
namespace {

Xxh3 canonical(XXH128_hash_t hash) {
  XXH128_canonical_t form;
  XXH128_canonicalFromHash(&form, hash);
  Xxh3 out;
  static_assert(sizeof form.digest == sizeof out.bytes);
  for (std::size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = std::byte{form.digest[i]};
  return out;
}

}  // namespace

Xxh3 xxh3(std::span<const std::byte> data) { return canonical(XXH3_128bits(data.data(), data.size())); }

void Xxh3Hasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Xxh3Hasher::Xxh3Hasher() : state_(XXH3_createState()) {
  PENSTOCK_CHECK(state_ != nullptr);
  reset();
}

void Xxh3Hasher::update(std::span<const std::byte> data) {
  if (data.empty()) return;  // a null pointer is an error to the library, even for no bytes
  PENSTOCK_CHECK(XXH3_128bits_update(state_.get(), data.data(), data.size()) == XXH_OK);
}

Xxh3 Xxh3Hasher::digest() const { return canonical(XXH3_128bits_digest(state_.get())); }

void Xxh3Hasher::reset() { PENSTOCK_CHECK(XXH3_128bits_reset(state_.get()) == XXH_OK); }

}  // namespace penstock::digest
