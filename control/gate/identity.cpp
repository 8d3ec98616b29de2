#include "control/gate/identity.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/gate/private_file.h"

namespace penstock::control {
namespace {

constexpr std::string_view receipt_key_context{"penstock/1 receipt key\0", 23};
constexpr long certificate_seconds = 20L * 366 * 24 * 3600;  // dates do not matter to a pinned key; tools want some
constexpr std::size_t chain_max = 16;

Error unusable(const std::filesystem::path& file, std::string_view reason) {
  return {ErrorCode::CONFIG_INVALID, "cannot use " + file.string() + ": " + std::string{reason}, file.string()};
}

/// Of a file that the operator has named: the reason stands in `cause` already, unless the file is not there.
Error unreadable(const std::filesystem::path& file, const Error& cause) {
  if (cause.code == ErrorCode::NOT_FOUND) return unusable(file, "there is no such file; check the spelling");
  return cause;
}

BioHandle memory_bio(std::span<const std::byte> bytes) {
  return BioHandle{BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))};
}

Result<std::vector<X509Handle>> load_chain(const std::filesystem::path& file) {
  auto pem = read_private_file(file, Secrecy::none);
  if (!pem) return unreadable(file, pem.error());
  const auto bio = memory_bio(pem->view());
  std::vector<X509Handle> chain;
  while (chain.size() < chain_max) {
    X509Handle certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)};
    if (!certificate) break;
    chain.push_back(std::move(certificate));
  }
  take_openssl_error();  // the end of the file is reported as one
  if (chain.empty()) return unusable(file, "it holds no PEM certificate");
  return chain;
}

Result<crypto::RsaPrivateKey> load_key(const std::filesystem::path& file, Secrecy secrecy) {
  auto pem = read_private_file(file, secrecy);
  if (!pem) return std::move(pem).error();
  auto key = crypto::RsaPrivateKey::from_pem(pem->view());
  if (!key) return unusable(file, key.error().message);
  return key;
}

// Self-signed, named "penstock": only its key is ever looked at by our clients.
X509Handle self_signed(const crypto::RsaPrivateKey& key) {
  X509Handle certificate{X509_new()};
  std::uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -24L * 3600);  // clocks differ
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), certificate_seconds);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("penstock"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.native());
  if (X509_sign(certificate.get(), key.native(), EVP_sha256()) == 0) return nullptr;
  return certificate;
}

Result<crypto::SecretBytes> to_pem(X509* certificate) {
  const BioHandle bio{BIO_new(BIO_s_mem())};
  if (PEM_write_bio_X509(bio.get(), certificate) != 1)
    return Error{ErrorCode::INTERNAL, "cannot encode the certificate: " + take_openssl_error()};
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return crypto::SecretBytes{bytes::as_bytes({data, static_cast<std::size_t>(size)})};
}

// Keeps what another process put there first; only real failures are errors.
Status write_if_missing(const std::filesystem::path& file, std::span<const std::byte> contents) {
  auto written = write_private_file(file, contents, Existing::keep);
  if (!written && written.error().code == ErrorCode::FILE_EXISTS) return {};
  return written;
}

bool fits(X509* certificate, const crypto::RsaPrivateKey& key) {
  return pin_of_spki(spki_of(certificate)).sha256 == key.public_key().pin();
}

using ReceiptKeyMessage =
    std::array<std::byte, receipt_key_context.size() + std::tuple_size_v<crypto::Ed25519PublicKey>>;
ReceiptKeyMessage receipt_key_message(const crypto::Ed25519PublicKey& key) {
  ReceiptKeyMessage message{};
  const auto after = std::ranges::copy(bytes::as_bytes(receipt_key_context), message.begin()).out;
  std::ranges::copy(key, after);
  return message;
}

}  // namespace

Result<Identity> Identity::load_or_create(const std::filesystem::path& state_directory) {
  const auto key_file = state_directory / "identity.key";
  const auto certificate_file = state_directory / "identity.crt";
  auto key = load_key(key_file, Secrecy::owner);
  if (!key && key.error().code == ErrorCode::NOT_FOUND) {
    const auto fresh = crypto::RsaPrivateKey::generate();
    if (auto written = write_if_missing(key_file, fresh.to_pem().view()); !written) return written.error();
    key = load_key(key_file, Secrecy::owner);  // the winner's, should two processes have been here
  }
  if (!key) return std::move(key).error();

  std::error_code ignored;
  if (!std::filesystem::exists(certificate_file, ignored)) {
    const auto certificate = self_signed(*key);
    if (!certificate) return Error{ErrorCode::INTERNAL, "cannot sign a certificate: " + take_openssl_error()};
    const auto pem = to_pem(certificate.get());
    if (!pem) return pem.error();
    if (auto written = write_if_missing(certificate_file, pem->view()); !written) return written.error();
  }
  auto chain = load_chain(certificate_file);
  if (!chain) return std::move(chain).error();
  if (!fits(chain->front().get(), *key))
    return unusable(certificate_file, "it is not for the key in " + key_file.string() +
                                          "; remove the certificate to have it made again, or restore both");
  return Identity{*std::move(key), *std::move(chain)};
}

Result<Identity> Identity::load(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  auto private_key = load_key(key, Secrecy::group);
  if (!private_key) return unreadable(key, private_key.error());
  auto chain = load_chain(certificate);
  if (!chain) return std::move(chain).error();
  if (!fits(chain->front().get(), *private_key))
    return unusable(certificate, "its first certificate is not for the key in " + key.string());
  return Identity{*std::move(private_key), *std::move(chain)};
}

Result<ReceiptKey> ReceiptKey::load_or_create(const std::filesystem::path& state_directory, const Identity& identity) {
  const auto file = state_directory / "receipt.key";
  auto text = read_private_file(file, Secrecy::owner);
  if (!text && text.error().code == ErrorCode::NOT_FOUND) {
    const auto seed = crypto::Ed25519SigningKey::generate().seed();
    std::string hex = bytes::to_hex(seed.view()) + "\n";
    const auto written = write_if_missing(file, bytes::as_bytes(hex));
    crypto::wipe(std::as_writable_bytes(std::span{hex.data(), hex.size()}));
    if (!written) return written.error();
    text = read_private_file(file, Secrecy::owner);
  }
  if (!text) return std::move(text).error();
  auto digits = bytes::as_text(text->view());
  if (digits.ends_with('\n')) digits.remove_suffix(1);
  crypto::SecretArray<crypto::ed25519_seed_size> seed;
  if (!bytes::from_hex(digits, seed.writable())) return unusable(file, "it does not hold 64 hex digits");
  return ReceiptKey{crypto::Ed25519SigningKey::from_seed(seed.view()), identity};
}

ReceiptKey::ReceiptKey(crypto::Ed25519SigningKey key, const Identity& identity)
    : key_(std::move(key)), certification_(identity.key().sign_pss(receipt_key_message(key_.public_key()))) {}

bool verify_receipt_key(std::span<const std::byte> daemon_spki, const crypto::Ed25519PublicKey& key,
                        std::span<const std::byte> certification) {
  const auto daemon = crypto::RsaPublicKey::from_spki(daemon_spki, crypto::KeyChecks::shape);
  return daemon && daemon->verify_pss(receipt_key_message(key), certification);
}

}  // namespace penstock::control
