#include "control/receipt/receipt.h"

#include <algorithm>
#include <charconv>

#include "common/bytes/base64.h"
#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "control/gate/identity.h"

namespace penstock::control {
namespace {

constexpr std::string_view magic = "penstock receipt 1";

Error broken(std::string_view what) {
  return {ErrorCode::SIGNATURE_INVALID,
          "this is not a valid receipt: " + std::string{what} + "; get it again from the end that stored it"};
}

/// One value on one line, any bytes: controls, DEL and '%' become %XX, so that a name can not forge a line.
std::string encode_value(std::string_view raw) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  out.reserve(raw.size());
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '%') {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

/// The inverse. Canonical: what encode_value would not have written is refused.
std::optional<std::string> decode_value(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    std::array<std::byte, 1> byte{};
    if (i + 2 >= text.size() || !bytes::from_hex(text.substr(i + 1, 2), byte)) return std::nullopt;
    out += static_cast<char>(byte[0]);
    i += 2;
  }
  if (encode_value(out) != text) return std::nullopt;
  return out;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || std::to_string(value) != text) return std::nullopt;
  return value;
}

/// Reads "NAME: VALUE\n" lines in a fixed order; sticky after the first that is missing.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  void fail() { ok_ = false; }

  std::string_view line() {
    const auto end = rest_.find('\n');
    if (!ok_ || end == std::string_view::npos) {
      ok_ = false;
      return {};
    }
    const auto found = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return found;
  }
  [[nodiscard]] bool at(std::string_view name) const {
    return rest_.starts_with(name) && rest_.substr(name.size()).starts_with(": ");
  }
  std::string_view raw(std::string_view name) {
    if (!at(name)) ok_ = false;
    const auto found = line();
    return ok_ ? found.substr(name.size() + 2) : std::string_view{};
  }
  std::string value(std::string_view name) {
    auto decoded = decode_value(raw(name));
    if (!decoded) ok_ = false;
    return decoded.value_or(std::string{});
  }
  std::uint64_t count(std::string_view name) {
    const auto parsed = parse_count(raw(name));
    if (!parsed) ok_ = false;
    return parsed.value_or(0);
  }
  void hex(std::string_view name, std::span<std::byte> out) {
    const auto text = raw(name);
    if (!bytes::from_hex(text, out) || bytes::to_hex(out) != text) ok_ = false;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

std::string field(std::string_view name, std::string_view value) {
  std::string line{name};
  line += ": ";
  line += value;
  line += '\n';
  return line;
}

}  // namespace

std::string_view to_string(ReceiptOperation operation) { return operation == ReceiptOperation::push ? "push" : "pull"; }
std::string_view to_string(ReceiptDigest digest) { return digest == ReceiptDigest::xxh3 ? "xxh3" : "sha256"; }

std::string encode_receipt_header(const ReceiptHeaderFields& fields) {
  std::string text{magic};
  text += '\n';
  text += field("transfer", fields.transfer);
  text += field("operation", to_string(fields.operation));
  text += field("daemon", to_string(fields.daemon));
  text += field("receipt-key", bytes::to_hex(fields.receipt_key));
  text += field("user", encode_value(fields.user));
  text += field("client", encode_value(fields.uuid));
  for (const auto& source : fields.sources) text += field("source", encode_value(source));
  text += field("destination", encode_value(fields.destination));
  text += field("started", encode_value(fields.started));
  text += field("finished", encode_value(fields.finished));
  text += field("files", std::to_string(fields.files));
  text += field("bytes", std::to_string(fields.bytes));
  text += field("digest", to_string(fields.digest));
  text += field("list", bytes::to_hex(fields.list_sha256));
  text += field("limited-by", encode_value(fields.limited_by));
  return text;
}

Result<ReceiptHeaderFields> decode_receipt_header(std::string_view text) {
  LineReader in{text};
  ReceiptHeaderFields fields;
  if (in.line() != magic) return broken("its first line is not \"penstock receipt 1\"");
  fields.transfer = in.value("transfer");
  std::array<std::byte, 16> id{};
  if (!bytes::from_hex(fields.transfer, id)) in.fail();
  const auto operation = in.raw("operation");
  if (operation != "push" && operation != "pull") in.fail();
  fields.operation = operation == "pull" ? ReceiptOperation::pull : ReceiptOperation::push;
  const auto pin = parse_pin(in.raw("daemon"));
  if (!pin) in.fail();
  fields.daemon = pin.value_or(Pin{});
  in.hex("receipt-key", fields.receipt_key);
  fields.user = in.value("user");
  fields.uuid = in.value("client");
  while (in.ok() && in.at("source")) fields.sources.push_back(in.value("source"));
  fields.destination = in.value("destination");
  fields.started = in.value("started");
  fields.finished = in.value("finished");
  fields.files = in.count("files");
  fields.bytes = in.count("bytes");
  const auto digest = in.raw("digest");
  if (digest != "xxh3" && digest != "sha256") in.fail();
  fields.digest = digest == "sha256" ? ReceiptDigest::sha256 : ReceiptDigest::xxh3;
  in.hex("list", fields.list_sha256);
  fields.limited_by = in.value("limited-by");
  if (!in.ok() || !in.rest().empty()) return broken("a line of its header is missing, unknown or malformed");
  // The signature covers the text, so the text must be the only one that these fields have.
  if (encode_receipt_header(fields) != text) return broken("its header is not in canonical form");
  return fields;
}

std::string encode_receipt_list(std::span<const ReceiptLine> lines) {
  std::string text;
  for (const auto& line : lines) {
    text += bytes::to_hex(line.digest);
    text += ' ';
    text += std::to_string(line.size);
    text += ' ';
    text += encode_value(line.path);
    text += '\n';
  }
  return text;
}

std::array<std::byte, 32> receipt_list_sha256(std::span<const ReceiptLine> lines) {
  digest::Sha256Hasher hasher;
  for (const auto& line : lines) hasher.update(bytes::as_bytes(encode_receipt_list({&line, 1})));
  return hasher.digest().bytes;
}

std::string encode_receipt(const Receipt& receipt) {
  std::string text = encode_receipt_header(receipt.header);
  text += '\n';
  text += field("signature", bytes::to_hex(receipt.signature));
  text += field("daemon-key", bytes::to_base64url(receipt.daemon_spki));
  text += field("certification", bytes::to_base64url(receipt.key_certification));
  text += '\n';
  text += encode_receipt_list(receipt.lines);
  return text;
}

Result<Receipt> decode_receipt(std::string_view text) {
  const auto header_end = text.find("\n\n");
  if (header_end == std::string_view::npos) return broken("its header does not end");
  auto fields = decode_receipt_header(text.substr(0, header_end + 1));
  if (!fields) return fields.error();
  Receipt receipt;
  receipt.header = std::move(*fields);

  LineReader in{text.substr(header_end + 2)};
  in.hex("signature", receipt.signature);
  const auto spki = bytes::from_base64url(in.raw("daemon-key"));
  const auto certification = bytes::from_base64url(in.raw("certification"));
  if (!spki || !certification || !in.line().empty() || !in.ok()) return broken("its signature block is malformed");
  receipt.daemon_spki = *spki;
  receipt.key_certification = *certification;

  const std::size_t digest_size = receipt.header.digest == ReceiptDigest::xxh3 ? 16 : 32;
  while (!in.rest().empty()) {
    const auto line = in.line();
    const auto first = line.find(' ');
    const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (!in.ok() || second == std::string_view::npos) return broken("a line of its list is malformed");
    ReceiptLine entry;
    const auto size = parse_count(line.substr(first + 1, second - first - 1));
    auto path = decode_value(line.substr(second + 1));
    entry.digest.resize(digest_size);
    if (!size || !path || path->empty() || !bytes::from_hex(line.substr(0, first), entry.digest))
      return broken("a line of its list is malformed");
    entry.size = *size;
    entry.path = std::move(*path);
    if (!receipt.lines.empty() && receipt.lines.back().path >= entry.path) return broken("its list is not sorted");
    receipt.lines.push_back(std::move(entry));
  }
  if (encode_receipt(receipt) != text) return broken("it is not in canonical form");
  return receipt;
}

Status verify_receipt(const Receipt& receipt, std::optional<std::span<const Pin>> trusted) {
  const auto fail = [](std::string_view what) {
    return Error{ErrorCode::SIGNATURE_INVALID, std::string{what} + "; do not rely on this receipt"};
  };
  const auto& header = receipt.header;
  if (receipt_list_sha256(receipt.lines) != header.list_sha256)
    return fail("the list of files is not the one that was signed");
  std::uint64_t total = 0;
  for (const auto& line : receipt.lines) total += line.size;
  if (receipt.lines.size() != header.files || total != header.bytes)
    return fail("the list of files does not add up to the signed totals");
  if (pin_of_spki(receipt.daemon_spki) != header.daemon) return fail("the daemon key inside is not the one named");
  if (!verify_receipt_key(receipt.daemon_spki, header.receipt_key, receipt.key_certification))
    return fail("the daemon's key does not vouch for the key that signed");
  const std::string text = encode_receipt_header(header);
  if (!crypto::ed25519_verify(header.receipt_key, bytes::as_bytes(text), receipt.signature))
    return fail("the signature does not fit the receipt's text");
  if (trusted && std::find(trusted->begin(), trusted->end(), header.daemon) == trusted->end())
    return fail("the receipt is signed by " + to_string(header.daemon) + ", a daemon that you are not registered with");
  return {};
}

std::string_view receipt_assurance(ReceiptDigest digest) {
  return digest == ReceiptDigest::xxh3
             ? "the signature is good; xxh3 digests show accidents of disks and memory, they are no evidence against "
               "tampering with the files (use --digest sha256 for that)"
             : "the signature is good, and the sha256 digests are those that sha256sum prints";
}

}  // namespace penstock::control
