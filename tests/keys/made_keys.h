#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

#include "common/result.h"
#include "control/gate/token.h"

// RSA keys made beforehand: tests start hundreds of daemons and clients, and each would make one, for a second of
// processor time.

namespace penstock::control::test {

/// So many clients and daemons can meet and be different.
inline constexpr std::size_t made_keys = 16;

/// Makes 0.pem to 15.pem in a directory, those that it does not hold yet.
[[nodiscard]] Status make_keys(const std::filesystem::path& directory);

/// A client that registers with this token will have this private key.
[[nodiscard]] Status give_client(const std::filesystem::path& home, const Token& token,
                                 const std::filesystem::path& key);
/// A daemon that starts with this state will have this private key.
[[nodiscard]] Status give_daemon(const std::filesystem::path& state, const std::filesystem::path& key);

/// The next of the keys in the directory that PENSTOCK_TEST_KEYS names, round and round; nullopt where it names none,
/// and then whoever needs a key makes it. Threads: any.
[[nodiscard]] std::optional<std::filesystem::path> next_made_key();

}  // namespace penstock::control::test
