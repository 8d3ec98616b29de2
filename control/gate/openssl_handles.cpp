#include "control/gate/openssl_handles.h"

#include <openssl/err.h>

namespace penstock::control {

std::string take_openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

std::vector<std::byte> spki_of(const X509* certificate) {
  const X509_PUBKEY* key = certificate == nullptr ? nullptr : X509_get_X509_PUBKEY(certificate);
  if (key == nullptr) return {};
  const int size = i2d_X509_PUBKEY(key, nullptr);
  if (size <= 0) return {};
  std::vector<std::byte> der(static_cast<std::size_t>(size));
  auto* out = reinterpret_cast<unsigned char*>(der.data());
  if (i2d_X509_PUBKEY(key, &out) != size) return {};
  return der;
}

}  // namespace penstock::control
