#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "common/crypto/secret_bytes.h"
#include "common/result.h"
#include "control/gate/pin.h"
#include "control/registry/records.h"

namespace penstock::control {

// Specification: pt1_ + base64url without padding of
//   version (1, = 1) | id (8) | secret (32) | SHA-256 of the daemon's SPKI (32) | length of address (1) | address
// The length byte makes every truncation visible; so do unused bits of the last base64 digit, which must be zero.
inline constexpr std::string_view token_prefix = "pt1_";
inline constexpr std::size_t token_secret_size = 32;
inline constexpr std::size_t token_address_max = 255;

/// What an operator hands to a new client: who the daemon is, and a secret that opens its gate once. Holding it, the
/// client can judge the daemon before it sends the secret, so nobody is trusted on first use.
struct Token {
  TokenId id;
  crypto::SecretArray<token_secret_size> secret;  // wiped with the token
  Pin pin;
  std::string address;  // "HOST:PORT" or empty
};

/// A token with fresh id and secret. Requires: address of at most token_address_max bytes.
Token make_token(const Pin& daemon, std::string address);
/// The text to hand over. It holds the secret: wipe it (wipe_text) when it has been shown.
std::string encode_token(const Token& token);
/// TOKEN_REFUSED, without repeating the text, for anything but exactly one whole token. Surrounding white space, as
/// files and terminals add, is ignored.
Result<Token> decode_token(std::string_view text);
/// What the daemon keeps of the secret.
Sha256Digest token_secret_digest(std::span<const std::byte> secret);
/// Overwrites a text that held a secret, such as an argv word or a line from a file.
void wipe_text(std::string& text);

}  // namespace penstock::control
