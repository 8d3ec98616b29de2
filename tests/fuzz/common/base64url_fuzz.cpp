#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/bytes/base64.h"
#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/check.h"

// What decodes must encode back to the very same text: one value, one text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::bytes;
  const auto text = as_text(std::as_bytes(std::span{data, size}));
  const auto decoded = from_base64url(text);
  if (decoded) PENSTOCK_CHECK(to_base64url(*decoded) == text);

  std::vector<std::byte> small(16);
  const auto count = from_base64url(text, small);
  PENSTOCK_CHECK(count.has_value() == (decoded && decoded->size() <= small.size()));

  const auto from_digits = from_hex(text);
  if (from_digits) PENSTOCK_CHECK(from_hex(to_hex(*from_digits)) == from_digits);
  return 0;
}
