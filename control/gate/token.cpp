#include "control/gate/token.h"

#include <algorithm>

#include "common/bytes/base64.h"
#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/random.h"
#include "common/digest/sha256.h"

namespace penstock::control {
namespace {

constexpr std::byte token_version{1};
constexpr std::size_t id_at = 1;
constexpr std::size_t secret_at = id_at + 8;
constexpr std::size_t pin_at = secret_at + token_secret_size;
constexpr std::size_t address_length_at = pin_at + 32;
constexpr std::size_t address_at = address_length_at + 1;
constexpr std::size_t token_bytes_max = address_at + token_address_max;

constexpr std::string_view white_space = " \t\r\n";

Error refused() {
  return {
      ErrorCode::TOKEN_REFUSED,
      "this is not a whole token: it reads pt1_ and about 98 more characters, on one line; copy it again, or ask the "
      "daemon's operator for another (`penstockd token --user NAME`)"};
}

// Host names, addresses, brackets, port: what an address may be made of. Keeps control characters out of messages.
bool is_address_character(std::byte b) {
  const auto c = std::to_integer<unsigned>(b);
  return c > 0x20 && c < 0x7f;
}

}  // namespace

Token make_token(const Pin& daemon, std::string address) {
  PENSTOCK_CHECK(address.size() <= token_address_max);
  Token token{.id = {crypto::random_array<8>()}, .secret = {}, .pin = daemon, .address = std::move(address)};
  crypto::random_bytes(token.secret.writable());
  return token;
}

std::string encode_token(const Token& token) {
  PENSTOCK_CHECK(token.address.size() <= token_address_max);
  crypto::SecretBytes raw{address_at + token.address.size()};
  const auto out = raw.writable();
  out[0] = token_version;
  std::ranges::copy(token.id.bytes, out.begin() + id_at);
  std::ranges::copy(token.secret.view(), out.begin() + secret_at);
  std::ranges::copy(token.pin.sha256, out.begin() + pin_at);
  out[address_length_at] = static_cast<std::byte>(token.address.size());
  std::ranges::copy(bytes::as_bytes(token.address), out.begin() + address_at);
  std::string body = bytes::to_base64url(raw.view());
  std::string text;
  text.reserve(token_prefix.size() + body.size());  // no reallocation leaves a copy of the secret behind
  text.append(token_prefix).append(body);
  wipe_text(body);
  return text;
}

Result<Token> decode_token(std::string_view text) {
  if (const auto first = text.find_first_not_of(white_space); first != std::string_view::npos) {
    text.remove_prefix(first);
    text.remove_suffix(text.size() - 1 - text.find_last_not_of(white_space));
  }
  if (!text.starts_with(token_prefix)) return refused();
  text.remove_prefix(token_prefix.size());

  crypto::SecretBytes raw{token_bytes_max};
  const auto size = bytes::from_base64url(text, raw.writable());
  if (!size || *size < address_at) return refused();
  const auto in = raw.view().first(*size);
  const auto address = in.subspan(address_at);
  if (in[0] != token_version || std::to_integer<std::size_t>(in[address_length_at]) != address.size()) return refused();
  if (!std::ranges::all_of(address, is_address_character)) return refused();

  Token token;
  std::copy_n(in.begin() + id_at, token.id.bytes.size(), token.id.bytes.begin());
  std::copy_n(in.begin() + secret_at, token_secret_size, token.secret.writable().begin());
  std::copy_n(in.begin() + pin_at, token.pin.sha256.size(), token.pin.sha256.begin());
  token.address = bytes::as_text(address);
  return token;
}

Sha256Digest token_secret_digest(std::span<const std::byte> secret) { return digest::sha256(secret).bytes; }

void wipe_text(std::string& text) {
  crypto::wipe(std::as_writable_bytes(std::span{text.data(), text.size()}));
  text.clear();
}

}  // namespace penstock::control
