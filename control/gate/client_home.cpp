#include "control/gate/client_home.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "common/unique_fd.h"
#include "control/gate/private_file.h"

namespace penstock::control {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int store_version = 1;
constexpr std::size_t other_pins_max = 8;

Error unusable(const fs::path& file, std::string_view reason) {
  return {ErrorCode::CONFIG_INVALID, "cannot use " + file.string() + ": " + std::string{reason}, file.string()};
}

fs::path store_file(const fs::path& home) { return home / "daemons.json"; }
fs::path key_file(const fs::path& home, std::string_view key_id) {
  return home / "keys" / (std::string{key_id} + ".pem");
}

Json to_json(const KnownDaemon& daemon) {
  Json others = Json::array();
  for (const auto& pin : daemon.other_pins) others.push_back(to_string(pin));
  return {{"pin", to_string(daemon.pin)},
          {"other_pins", std::move(others)},
          {"addresses", daemon.addresses},
          {"uuid", to_string(daemon.uuid)},
          {"user", daemon.user},
          {"key", daemon.key_id},
          {"registered", daemon.registered.value}};
}

// A key id becomes a file name, so it is nothing but hex digits.
bool is_key_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && bytes::from_hex(text).has_value();
}

// nullopt: malformed. Json's own accessors throw on wrong types, which the caller catches.
std::optional<KnownDaemon> from_json(const Json& json) {
  KnownDaemon daemon;
  const auto pin = parse_pin(json.at("pin").get<std::string>());
  const auto uuid = parse_uuid(json.at("uuid").get<std::string>());
  if (!pin || !uuid) return std::nullopt;
  daemon.pin = *pin;
  daemon.uuid = *uuid;
  for (const auto& text : json.at("other_pins")) {
    const auto other = parse_pin(text.get<std::string>());
    if (!other) return std::nullopt;
    daemon.other_pins.push_back(*other);
  }
  daemon.addresses = json.at("addresses").get<std::vector<std::string>>();
  daemon.user = json.at("user").get<std::string>();
  daemon.key_id = json.at("key").get<std::string>();
  daemon.registered = {json.at("registered").get<std::int64_t>()};
  if (!is_key_id(daemon.key_id)) return std::nullopt;
  return daemon;
}

Result<std::vector<KnownDaemon>> load(const fs::path& home) {
  const auto file = store_file(home);
  auto contents = read_private_file(file, Secrecy::group);
  if (!contents && contents.error().code == ErrorCode::NOT_FOUND) return std::vector<KnownDaemon>{};
  if (!contents) return std::move(contents).error();
  try {
    const auto json = Json::parse(bytes::as_text(contents->view()));
    if (json.at("version").get<int>() != store_version) return unusable(file, "another version of penstock wrote it");
    std::vector<KnownDaemon> daemons;
    for (const auto& entry : json.at("daemons")) {
      auto daemon = from_json(entry);
      if (!daemon) return unusable(file, "it holds a malformed entry; restore it or remove it and register again");
      daemons.push_back(*std::move(daemon));
    }
    return daemons;
  } catch (const Json::exception&) {
    return unusable(file, "it is not the JSON that penstock writes; restore it or remove it and register again");
  }
}

Status save(const fs::path& home, const std::vector<KnownDaemon>& daemons) {
  Json list = Json::array();
  for (const auto& daemon : daemons) list.push_back(to_json(daemon));
  const std::string text = Json{{"version", store_version}, {"daemons", std::move(list)}}.dump(
                               2, ' ', false, Json::error_handler_t::replace) +
                           "\n";
  return write_private_file(store_file(home), bytes::as_bytes(text), Existing::replace);
}

// Held while the store is read, changed and written, so that two writers lose nothing of each other's.
Result<UniqueFd> lock(const fs::path& home) {
  const auto file = home / "lock";
  UniqueFd fd{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return error_from_errno(errno, "open", file.string());
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return error_from_errno(errno, "lock", file.string());
  return fd;
}

template <class Change>
Status update(const fs::path& home, Change&& change) {
  const auto held = lock(home);
  if (!held) return held.error();
  auto daemons = load(home);
  if (!daemons) return daemons.error();
  auto changed = *daemons;
  change(changed);
  if (changed == *daemons) return {};
  return save(home, changed);
}

void put_first(std::vector<std::string>& addresses, std::string_view address) {
  std::erase(addresses, address);
  addresses.insert(addresses.begin(), std::string{address});
  if (addresses.size() > addresses_max) addresses.resize(addresses_max);
}

const char* set_or_null(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before threads start
  return value != nullptr && *value != '\0' ? value : nullptr;
}

Status make_directory(const fs::path& directory) {
  std::error_code failed;
  if (directory.has_parent_path()) fs::create_directories(directory.parent_path(), failed);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return error_from_errno(errno, "create", directory.string());
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return unusable(directory, "it can not be examined");
  if (!S_ISDIR(info.st_mode)) return unusable(directory, "it is not a directory");
  return {};
}

}  // namespace

bool KnownDaemon::trusts(const Pin& shown) const {
  return shown == pin || std::ranges::find(other_pins, shown) != other_pins.end();
}

std::vector<Pin> KnownDaemon::all_pins() const {
  std::vector<Pin> all{pin};
  all.insert(all.end(), other_pins.begin(), other_pins.end());
  return all;
}

Result<fs::path> client_home_path() {
  if (const char* home = set_or_null("PENSTOCK_HOME")) return fs::path{home};
  if (const char* config = set_or_null("XDG_CONFIG_HOME")) return fs::path{config} / "penstock";
  if (const char* home = set_or_null("HOME")) return fs::path{home} / ".config" / "penstock";
  return Error{ErrorCode::CONFIG_INVALID, "there is no place for registrations: set PENSTOCK_HOME or HOME"};
}

std::string address_key(std::string_view host, std::uint16_t port) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::string key;
  for (const char c : host) key += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (key.find(':') != std::string::npos) key = "[" + key + "]";
  return key + ":" + std::to_string(port);
}

Result<ClientHome> ClientHome::open(fs::path directory) {
  if (auto made = make_directory(directory); !made) return made.error();
  return ClientHome{std::move(directory)};
}

Result<std::vector<KnownDaemon>> ClientHome::daemons() const { return load(directory_); }

Result<std::vector<KnownDaemon>> ClientHome::find_by_address(std::string_view address,
                                                             std::optional<std::string_view> user) const {
  auto all = load(directory_);
  if (!all) return all;
  std::vector<KnownDaemon> found;
  for (auto& daemon : *all) {
    if (std::ranges::find(daemon.addresses, address) == daemon.addresses.end()) continue;
    if (user && daemon.user != *user) continue;
    found.insert(found.begin(), std::move(daemon));
  }
  return found;
}

Result<std::vector<KnownDaemon>> ClientHome::find_by_pin(const Pin& pin) const {
  auto all = load(directory_);
  if (!all) return all;
  std::erase_if(*all, [&](const KnownDaemon& daemon) { return !daemon.trusts(pin); });
  return all;
}

Status ClientHome::remember(const KnownDaemon& daemon) {
  return update(directory_, [&](std::vector<KnownDaemon>& all) {
    std::erase_if(all, [&](const KnownDaemon& old) { return old.pin == daemon.pin && old.uuid == daemon.uuid; });
    all.push_back(daemon);
    // An address leads to one daemon: whoever was reached there before is not there any more.
    for (auto& other : all) {
      if (other.pin == daemon.pin) continue;
      std::erase_if(other.addresses, [&](const std::string& address) {
        return std::ranges::find(daemon.addresses, address) != daemon.addresses.end();
      });
    }
  });
}

Status ClientHome::note_address(const Pin& pin, std::string_view address) {
  return update(directory_, [&](std::vector<KnownDaemon>& all) {
    for (auto& daemon : all) {
      if (daemon.trusts(pin)) {
        put_first(daemon.addresses, address);
      } else {
        std::erase(daemon.addresses, address);
      }
    }
  });
}

Status ClientHome::add_pins(const Pin& pin, const std::vector<Pin>& next_pins) {
  return update(directory_, [&](std::vector<KnownDaemon>& all) {
    for (auto& daemon : all) {
      if (!daemon.trusts(pin)) continue;
      for (const auto& next : next_pins)
        if (!daemon.trusts(next) && daemon.other_pins.size() < other_pins_max) daemon.other_pins.push_back(next);
    }
  });
}

Result<std::size_t> ClientHome::forget(std::string_view address) {
  std::vector<std::string> orphans;
  std::size_t count = 0;
  auto done = update(directory_, [&](std::vector<KnownDaemon>& all) {
    const auto named = [&](const KnownDaemon& daemon) {
      return std::ranges::find(daemon.addresses, address) != daemon.addresses.end();
    };
    for (const auto& daemon : all)
      if (named(daemon)) orphans.push_back(daemon.key_id);
    count = std::erase_if(all, named);
    for (const auto& daemon : all) std::erase(orphans, daemon.key_id);
  });
  if (!done) return done.error();
  // After the store no longer names them: a crash in between leaves a useless key, never a registration without one.
  std::error_code ignored;
  for (const auto& key_id : orphans) fs::remove(key_file(directory_, key_id), ignored);
  return count;
}

std::string ClientHome::key_id_for(const TokenId& token, const Pin& daemon) {
  digest::Sha256Hasher hasher;
  hasher.update(daemon.sha256);
  hasher.update(token.bytes);
  const auto digest = hasher.digest();
  return bytes::to_hex(std::span{digest.bytes}.first(16));
}

Result<crypto::RsaPrivateKey> ClientHome::key_for_token(const TokenId& token, const Pin& daemon) {
  const auto held = lock(directory_);
  if (!held) return held.error();
  const auto id = key_id_for(token, daemon);
  auto existing = load_key(id);
  if (existing || existing.error().code != ErrorCode::NOT_FOUND) return existing;
  if (auto made = make_directory(directory_ / "keys"); !made) return made.error();
  auto key = crypto::RsaPrivateKey::generate();
  const auto pem = key.to_pem();
  if (auto written = write_private_file(key_file(directory_, id), pem.view(), Existing::keep); !written)
    return written.error();
  return key;
}

Result<crypto::RsaPrivateKey> ClientHome::load_key(std::string_view key_id) const {
  if (!is_key_id(key_id)) return unusable(store_file(directory_), "it names an impossible key");
  const auto file = key_file(directory_, key_id);
  auto pem = read_private_file(file, Secrecy::owner);
  if (!pem) return std::move(pem).error();
  auto key = crypto::RsaPrivateKey::from_pem(pem->view());
  if (!key) return unusable(file, key.error().message);
  return key;
}

}  // namespace penstock::control
