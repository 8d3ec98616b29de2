// Any text: a token is refused or is exactly the token that its text, trimmed, says.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/gate/client_home.h"
#include "control/gate/token.h"
#include "control/registry/grant.h"

using namespace penstock::control;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto token = decode_token(text)) {
    if (text.find(encode_token(*token)) == std::string_view::npos) std::abort();
  }
  if (const auto pin = parse_pin(text); pin && parse_pin(to_string(*pin)) != pin) std::abort();
  if (const auto uuid = parse_uuid(text); uuid && parse_uuid(to_string(*uuid)) != uuid) std::abort();
  if (const auto grant = parse_grant(text)) {
    const auto again = parse_grant(to_string(*grant));
    if (!again || *again != *grant) std::abort();
  }
  return 0;
}
