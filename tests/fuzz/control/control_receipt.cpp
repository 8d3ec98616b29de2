// The receipt decoder: whatever it takes, it writes back byte for byte, and judging it never fails to return.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "control/receipt/receipt.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::control;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto header = decode_receipt_header(text)) PENSTOCK_CHECK(encode_receipt_header(*header) == text);
  if (const auto receipt = decode_receipt(text)) {
    PENSTOCK_CHECK(encode_receipt(*receipt) == text);
    (void)verify_receipt(*receipt);
  }
  return 0;
}
