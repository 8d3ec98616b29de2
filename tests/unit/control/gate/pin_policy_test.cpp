#include "control/gate/pin_policy.h"

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/control/gate/fixtures.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

const Pin shown = daemon_identity().pin();
const Pin another = other_identity().pin();

ErrorCode code_of(const TrustBasis& basis) {
  const auto judged =
      judge_daemon(basis, {.pin = shown, .certificate = daemon_identity().chain().front().get(), .chain = nullptr});
  REQUIRE(!judged.ok());
  CHECK(judged.error().message.find("host") != std::string::npos);
  return judged.error().code;
}
bool accepted(const TrustBasis& basis) {
  return judge_daemon(basis, {.pin = shown, .certificate = daemon_identity().chain().front().get(), .chain = nullptr})
      .ok();
}

struct Certificate {
  std::string name;           // subjectAltName, as "DNS:host"
  long from_seconds = -3600;  // notBefore, from now
  long until_seconds = 3600;  // notAfter, from now
};

// A certificate for `key`, signed by `issuer_key` in the name "CN=issuer".
X509Handle make_certificate(const Certificate& what, const crypto::RsaPrivateKey& key,
                            const crypto::RsaPrivateKey& issuer_key, bool is_ca) {
  X509Handle certificate{X509_new()};
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), is_ca ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), what.from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), what.until_seconds);
  const auto set_name = [](X509_NAME* name, const char* text) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text), -1, -1, 0);
  };
  set_name(X509_get_subject_name(certificate.get()), is_ca ? "issuer" : "daemon");
  set_name(X509_get_issuer_name(certificate.get()), "issuer");
  X509_set_pubkey(certificate.get(), key.native());
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate.get(), extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!is_ca) extend(NID_subject_alt_name, what.name.c_str());
  REQUIRE(X509_sign(certificate.get(), issuer_key.native(), EVP_sha256()) != 0);
  return certificate;
}

std::string pem_of(X509* certificate) {
  const BioHandle bio{BIO_new(BIO_s_mem())};
  PEM_write_bio_X509(bio.get(), certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

TEST_CASE("pin policy: a daemon nothing vouches for is PIN_UNKNOWN, and its fingerprint is shown") {
  CHECK(code_of({.host = "host"}) == ErrorCode::PIN_UNKNOWN);
  const auto judged = judge_daemon({.host = "host"}, {.pin = shown});
  CHECK(judged.error().message.find(to_string(shown)) != std::string::npos);
}

TEST_CASE("pin policy: messages name host and port as the user typed them") {
  const auto message = [](TrustBasis basis) {
    basis.host = "host";
    basis.shown = "host:7441";
    return judge_daemon(basis, {.pin = shown}).error().message;
  };
  for (const auto& text : {message({}), message({.pinned = {another}}), message({.token_pin = another}),
                           message({.fingerprint = another})})
    CHECK_MESSAGE(text.find("host:7441") != std::string::npos, text);
}

TEST_CASE(
    "pin policy: a pinned key is accepted whatever its certificate's dates and names say; any of several will do") {
  const auto old = make_certificate({.name = "DNS:elsewhere", .from_seconds = -7200, .until_seconds = -3600},
                                    daemon_identity().key(), daemon_identity().key(), false);
  CHECK(judge_daemon({.host = "host", .pinned = {another, shown}}, {.pin = shown, .certificate = old.get()}).ok());
  // With --ca too: the pin decides, the host name does not matter any more.
  CHECK(judge_daemon({.host = "host", .pinned = {shown}, .ca_file = "/nonexistent"},
                     {.pin = shown, .certificate = old.get()})
            .ok());
}

TEST_CASE("pin policy: a changed key is PIN_MISMATCH, whatever else vouches for it") {
  CHECK(code_of({.host = "host", .pinned = {another}}) == ErrorCode::PIN_MISMATCH);
  CHECK(code_of({.host = "host", .pinned = {another}, .token_pin = shown, .fingerprint = shown}) ==
        ErrorCode::PIN_MISMATCH);
}

TEST_CASE("pin policy: a fingerprint or token vouches for its key, and for no other") {
  CHECK(accepted({.host = "host", .fingerprint = shown}));
  CHECK(accepted({.host = "host", .token_pin = shown}));
  CHECK(code_of({.host = "host", .fingerprint = another}) == ErrorCode::PIN_MISMATCH);
  CHECK(code_of({.host = "host", .token_pin = another}) == ErrorCode::TOKEN_REFUSED);
  CHECK(code_of({.host = "host", .token_pin = another, .fingerprint = shown}) == ErrorCode::TOKEN_REFUSED);
  CHECK(code_of({.host = "host", .token_pin = shown, .fingerprint = another}) == ErrorCode::PIN_MISMATCH);
}

TEST_CASE("pin policy: --ca accepts a certificate of that authority for that host and now, and nothing else") {
  const penstock::tests::TempDir dir;
  const auto& authority_key = client_key();
  const auto authority = make_certificate({}, authority_key, authority_key, true);
  const auto file = dir.write("ca.pem", pem_of(authority.get()));
  const auto judge = [&](const X509Handle& certificate, const std::string& host) {
    return judge_daemon({.host = host, .ca_file = file}, {.pin = shown, .certificate = certificate.get()});
  };
  const auto& key = daemon_identity().key();
  const auto good =
      make_certificate({.name = "DNS:host.example,IP:192.0.2.7,IP:2001:db8::1"}, key, authority_key, false);
  CHECK(judge(good, "host.example").ok());
  CHECK(judge(good, "192.0.2.7").ok());
  CHECK(judge(good, "2001:db8::1").ok());
  for (const auto* host : {"other.example", "example", "192.0.2.8", "x.host.example"})
    CHECK(judge(good, host).error().code == ErrorCode::CERT_INVALID);

  const auto expired =
      make_certificate({.name = "DNS:host", .from_seconds = -7200, .until_seconds = -3600}, key, authority_key, false);
  CHECK(judge(expired, "host").error().code == ErrorCode::CERT_INVALID);
  const auto early =
      make_certificate({.name = "DNS:host", .from_seconds = 3600, .until_seconds = 7200}, key, authority_key, false);
  CHECK(judge(early, "host").error().code == ErrorCode::CERT_INVALID);
  const auto forged = make_certificate({.name = "DNS:host"}, key, other_key(), false);
  CHECK(judge(forged, "host").error().code == ErrorCode::CERT_INVALID);
  CHECK(judge_daemon({.host = "elsewhere", .ca_file = file}, {.pin = shown, .certificate = good.get()}).error().code ==
        ErrorCode::CERT_INVALID);
}

TEST_CASE("pin policy: a CA file that can not be used is CONFIG_INVALID and named") {
  const penstock::tests::TempDir dir;
  for (const auto& file : {dir.path() + "/missing.pem", dir.write("empty.pem", ""), dir.write("bad.pem", "nonsense")}) {
    CAPTURE(file);
    const auto judged = judge_daemon({.host = "host", .ca_file = file},
                                     {.pin = shown, .certificate = daemon_identity().chain().front().get()});
    REQUIRE(!judged.ok());
    CHECK(judged.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(judged.error().message.find(file) != std::string::npos);
  }
}
