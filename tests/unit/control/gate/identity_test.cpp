#include "control/gate/identity.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "common/bytes/view.h"
#include "tests/unit/control/gate/fixtures.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;
using penstock::tests::TempDir;

namespace {

std::string contents_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The module-wide identity's files, copied: no new key for each test.
struct State {
  TempDir dir;
  State() {
    const auto pem = daemon_identity().key().to_pem();
    dir.write("identity.key", bytes::as_text(pem.view()));
    REQUIRE(::chmod((dir.path() + "/identity.key").c_str(), 0600) == 0);
  }
};

}  // namespace

TEST_CASE("identity: made at first start, the same ever after, its key for nobody else's eyes") {
  const TempDir dir;
  const auto first = Identity::load_or_create(dir.path());
  REQUIRE(first.ok());
  struct stat info {};
  REQUIRE(::stat((dir.path() + "/identity.key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(first->key().public_key().bits() == 3072);
  const auto second = Identity::load_or_create(dir.path());
  REQUIRE(second.ok());
  CHECK(second->pin() == first->pin());
  CHECK(first->pin() == pin_of_spki(spki_of(first->chain().front().get())));
  // Nothing unfinished is left beside the two.
  CHECK(std::distance(std::filesystem::directory_iterator{dir.path()}, {}) == 2);
}

TEST_CASE("identity: a lost certificate is made again, and the pin stays") {
  const State state;
  const auto made = Identity::load_or_create(state.dir.path());
  REQUIRE(made.ok());
  CHECK(made->pin() == daemon_identity().pin());
}

TEST_CASE("identity: files that can not be used are CONFIG_INVALID and named, never replaced") {
  const State state;
  const auto key_file = state.dir.path() + "/identity.key";
  const auto certificate_file = state.dir.path() + "/identity.crt";
  const auto expect = [&](const std::string& file) {
    const auto before = contents_of(file);
    const auto loaded = Identity::load_or_create(state.dir.path());
    REQUIRE(!loaded.ok());
    CHECK(loaded.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(loaded.error().message.find(file) != std::string::npos);
    CHECK(contents_of(file) == before);
  };
  state.dir.write("identity.crt", "nonsense");
  expect(certificate_file);
  std::filesystem::copy_file(
      [] {
        static const TempDir other;
        REQUIRE(Identity::load_or_create(other.path()).ok());
        return other.path() + "/identity.crt";
      }(),
      certificate_file, std::filesystem::copy_options::overwrite_existing);
  expect(certificate_file);  // another key's
  std::filesystem::remove(certificate_file);
  REQUIRE(::chmod(key_file.c_str(), 0640) == 0);
  expect(key_file);
  REQUIRE(::chmod(key_file.c_str(), 0600) == 0);
  state.dir.write("identity.key", "-----BEGIN PRIVATE KEY-----\n");
  expect(key_file);
}

TEST_CASE("identity: two processes that start at once agree on one key") {
  const TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(Identity::load_or_create(dir.path()).ok() ? 0 : 1);
  const auto mine = Identity::load_or_create(dir.path());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  REQUIRE(mine.ok());
  CHECK(Identity::load_or_create(dir.path()).value().pin() == mine->pin());
}

TEST_CASE("identity: the operator's own files are taken, and refused by name when they do not fit") {
  const State state;
  REQUIRE(Identity::load_or_create(state.dir.path()).ok());
  const auto key = state.dir.path() + "/identity.key";
  const auto certificate = state.dir.path() + "/identity.crt";
  CHECK(Identity::load(certificate, key).value().pin() == daemon_identity().pin());
  const auto missing = Identity::load(certificate, state.dir.path() + "/none.key");
  REQUIRE(!missing.ok());
  CHECK(missing.error().code == ErrorCode::CONFIG_INVALID);
  CHECK(missing.error().message.find("none.key") != std::string::npos);
  const auto& text = missing.error().message;
  CHECK_MESSAGE(text.find("none.key") == text.rfind("none.key"), text);  // once is enough
  const auto swapped = Identity::load(key, certificate);
  REQUIRE(!swapped.ok());
  CHECK(swapped.error().code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("receipt key: kept, certified by the identity key, and by no other") {
  const State state;
  const auto identity = Identity::load_or_create(state.dir.path()).value();
  const auto first = ReceiptKey::load_or_create(state.dir.path(), identity).value();
  const auto second = ReceiptKey::load_or_create(state.dir.path(), identity).value();
  CHECK(first.public_key() == second.public_key());
  struct stat info {};
  REQUIRE(::stat((state.dir.path() + "/receipt.key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);

  CHECK(verify_receipt_key(identity.spki(), first.public_key(), first.certification()));
  CHECK_FALSE(verify_receipt_key(other_identity().spki(), first.public_key(), first.certification()));
  auto other = first.public_key();
  other[0] ^= std::byte{1};
  CHECK_FALSE(verify_receipt_key(identity.spki(), other, first.certification()));
  CHECK_FALSE(verify_receipt_key({}, first.public_key(), first.certification()));

  state.dir.write("receipt.key", "not hex");
  const auto bad = ReceiptKey::load_or_create(state.dir.path(), identity);
  REQUIRE(!bad.ok());
  CHECK(bad.error().code == ErrorCode::CONFIG_INVALID);
  CHECK(bad.error().message.find("receipt.key") != std::string::npos);
}
