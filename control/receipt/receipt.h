#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/ed25519.h"
#include "common/result.h"
#include "control/gate/pin.h"

namespace penstock::control {

enum class ReceiptOperation : std::uint8_t { push, pull };
enum class ReceiptDigest : std::uint8_t { xxh3, sha256 };
std::string_view to_string(ReceiptOperation operation);
std::string_view to_string(ReceiptDigest digest);

/// What the daemon signs. A push receipt attests durable storage at the daemon, a pull receipt what was sent.
struct ReceiptHeaderFields {
  std::string transfer;  // 32 hex digits
  ReceiptOperation operation = ReceiptOperation::push;
  Pin daemon;
  crypto::Ed25519PublicKey receipt_key{};
  std::string user;  // raw bytes
  std::string uuid;
  std::vector<std::string> sources;  // as asked for, raw bytes
  std::string destination;
  std::string started;  // RFC 3339 UTC
  std::string finished;
  std::uint64_t files = 0;  // entries of the list
  std::uint64_t bytes = 0;
  ReceiptDigest digest = ReceiptDigest::xxh3;
  std::array<std::byte, 32> list_sha256{};  // of the list's canonical text
  std::string limited_by;

  bool operator==(const ReceiptHeaderFields&) const = default;
};

/// One regular file of the list. `path` is relative to where the transfer landed, raw bytes.
struct ReceiptLine {
  std::string path;
  std::uint64_t size = 0;
  std::vector<std::byte> digest;  // 16 bytes of xxh3 (storage/file_digest.h), or 32 of SHA-256 over the file

  auto operator<=>(const ReceiptLine&) const = default;
};

/// A whole receipt file: what was signed, by whom, and the list that it covers (grammar: README).
struct Receipt {
  ReceiptHeaderFields header;
  std::vector<ReceiptLine> lines;            // ascending by path, no path twice
  crypto::Ed25519Signature signature{};      // Ed25519 over the header's text
  std::vector<std::byte> daemon_spki;        // DER; its SHA-256 is header.daemon
  std::vector<std::byte> key_certification;  // the daemon key's signature over receipt_key
};

/// The signed text. Canonical: equal fields give equal bytes.
std::string encode_receipt_header(const ReceiptHeaderFields& fields);
/// Refuses whatever encode would not write. SIGNATURE_INVALID: it is no receipt header.
Result<ReceiptHeaderFields> decode_receipt_header(std::string_view text);

/// Ascending by path. Canonical text of the list.
std::string encode_receipt_list(std::span<const ReceiptLine> lines);
std::array<std::byte, 32> receipt_list_sha256(std::span<const ReceiptLine> lines);

std::string encode_receipt(const Receipt& receipt);
Result<Receipt> decode_receipt(std::string_view text);

/// Reads and decodes. NOT_FOUND, IO_ERROR; SIGNATURE_INVALID when it is no receipt. Bound: 1 GiB.
Result<Receipt> read_receipt(const std::filesystem::path& file);

/// The chain from list to header to receipt key to daemon key. With `trusted` the daemon's pin must be among them.
/// SIGNATURE_INVALID names the broken link. Needs no network and no state.
Status verify_receipt(const Receipt& receipt, std::optional<std::span<const Pin>> trusted = std::nullopt);

/// What a successful verification does and does not say, one sentence for people.
std::string_view receipt_assurance(ReceiptDigest digest);

/// Reads every file of the list beneath `directory` and compares. Goes on after one that is not as it should be: each
/// such is told to `on_bad`, DIGEST_MISMATCH if it differs, NOT_FOUND if it is missing. The error of all is that of the
/// first that differs, or else of the first. Never follows links. Returns how many files were read.
Result<std::uint64_t> check_receipt(const Receipt& receipt, const std::filesystem::path& directory,
                                    const std::function<void(const Error&)>& on_bad = {});

}  // namespace penstock::control
