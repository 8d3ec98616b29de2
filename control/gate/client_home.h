#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/rsa_key.h"
#include "common/result.h"
#include "control/gate/pin.h"
#include "control/registry/records.h"

namespace penstock::control {

/// One registration with one daemon. Keyed by the daemon's key, not by its name: names and addresses only help to find
/// it again.
struct KnownDaemon {
  Pin pin = {};                             // the key that the daemon showed when we registered; the record's name
  std::vector<Pin> other_pins = {};         // announced next keys, and keys accepted since
  std::vector<std::string> addresses = {};  // "host:port" as connected to, newest first, at most addresses_max
  Uuid uuid = {};                           // ours, at that daemon
  std::string user = {};                    // label from the token; `NAME@HOST` picks by it
  std::string key_id = {};                  // which of the home's private keys
  UnixSeconds registered = {};

  [[nodiscard]] bool trusts(const Pin& shown) const;
  [[nodiscard]] std::vector<Pin> all_pins() const;
  bool operator==(const KnownDaemon&) const = default;
};
inline constexpr std::size_t addresses_max = 16;

/// $PENSTOCK_HOME, else $XDG_CONFIG_HOME/penstock, else ~/.config/penstock. CONFIG_INVALID when none is set.
Result<std::filesystem::path> client_home_path();

/// "HOST:PORT" in the one form that the home stores: host in lower case, IPv6 in brackets.
std::string address_key(std::string_view host, std::uint16_t port);

/// The client's own store: `daemons.json` (0600), and private keys in `keys/ID.pem` (0600). Every change is made under
/// an flock of `lock`, on the newest contents, and replaces the file by rename: other processes and crashes see the
/// old or the new.
/// Errors: CONFIG_INVALID naming the file that is malformed, unreadable or open to other users; IO_ERROR for writes.
/// Threads: one owner per object; several processes may share a home.
class ClientHome {
 public:
  /// Makes the directory (0700) when it does not exist.
  static Result<ClientHome> open(std::filesystem::path directory);
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }

  /// In the order of registration.
  Result<std::vector<KnownDaemon>> daemons() const;
  /// Registrations whose addresses hold `address` (see address_key), and, when a user is given, have that user.
  /// Several: the last registered comes first.
  Result<std::vector<KnownDaemon>> find_by_address(std::string_view address,
                                                   std::optional<std::string_view> user = std::nullopt) const;
  /// The registrations with the daemon that shows or announced this key.
  Result<std::vector<KnownDaemon>> find_by_pin(const Pin& pin) const;

  /// Adds the registration, or replaces the one with the same (pin, uuid).
  Status remember(const KnownDaemon& daemon);
  /// Notes that the daemon answers here: moves the address to the front and takes it away from other daemons' records.
  Status note_address(const Pin& pin, std::string_view address);
  /// Adds announced keys, at most 8 a record. Only from a proven session.
  Status add_pins(const Pin& pin, const std::vector<Pin>& next_pins);
  /// Removes every registration that has this address, with the private keys nobody else uses; how many.
  Result<std::size_t> forget(std::string_view address);

  /// The key made for this token, made now (RSA-3072, takes 0.1-1 s) if there is none: a registration that is repeated
  /// after a lost reply shows the same key and gets the same UUID. Its id is `key_id_for`.
  Result<crypto::RsaPrivateKey> key_for_token(const TokenId& token, const Pin& daemon);
  static std::string key_id_for(const TokenId& token, const Pin& daemon);
  /// The private key of a registration.
  Result<crypto::RsaPrivateKey> load_key(std::string_view key_id) const;

 private:
  explicit ClientHome(std::filesystem::path directory) : directory_(std::move(directory)) {}
  std::filesystem::path directory_;
};

}  // namespace penstock::control
