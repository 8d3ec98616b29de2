#include "tests/keys/made_keys.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <system_error>

#include "common/crypto/rsa_key.h"
#include "control/gate/client_home.h"
#include "control/gate/private_file.h"

namespace penstock::control::test {
namespace {

namespace fs = std::filesystem;

fs::path key_file(const fs::path& directory, std::size_t number) {
  return directory / (std::to_string(number) + ".pem");
}

Status make_private_directory(const fs::path& directory) {
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (!failed) fs::permissions(directory, fs::perms::owner_all, failed);
  if (failed) return Error{ErrorCode::INTERNAL, "cannot make " + directory.string() + ": " + failed.message()};
  return {};
}

Status copy_key(const fs::path& key, const fs::path& to) {
  const auto text = read_private_file(key, Secrecy::owner);
  if (!text) return text.error();
  if (auto made = make_private_directory(to.parent_path()); !made) return made.error();
  return write_private_file(to, text->view(), Existing::keep);
}

}  // namespace

Status make_keys(const fs::path& directory) {
  if (auto made = make_private_directory(directory); !made) return made.error();
  for (std::size_t number = 0; number < made_keys; ++number) {
    const fs::path file = key_file(directory, number);
    if (fs::exists(file)) continue;
    const auto key = crypto::RsaPrivateKey::generate();
    if (auto written = write_private_file(file, key.to_pem().view(), Existing::keep); !written) return written.error();
  }
  return {};
}

Status give_client(const fs::path& home, const Token& token, const fs::path& key) {
  return copy_key(key, home / "keys" / (ClientHome::key_id_for(token.id, token.pin) + ".pem"));
}

Status give_daemon(const fs::path& state, const fs::path& key) { return copy_key(key, state / "identity.key"); }

std::optional<fs::path> next_made_key() {
  static std::atomic<std::size_t> next{0};
  const char* directory = std::getenv("PENSTOCK_TEST_KEYS");
  if (directory == nullptr || *directory == '\0') return std::nullopt;
  return key_file(directory, next.fetch_add(1, std::memory_order_relaxed) % made_keys);
}

}  // namespace penstock::control::test
