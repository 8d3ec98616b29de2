#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "common/crypto/secret_bytes.h"
#include "common/result.h"

namespace penstock::control {

/// Who else may be able to open a file that we read: anybody, the file's group (an operator's key, as Debian's ssl-cert
/// group has it), or nobody.
enum class Secrecy { none, group, owner };

/// The contents of a regular file of at most 16 MiB. Errors, naming the file: NOT_FOUND; CONFIG_INVALID for anything
/// else that keeps it from being used.
Result<crypto::SecretBytes> read_private_file(const std::filesystem::path& file, Secrecy secrecy);

enum class Existing { keep, replace };
/// Writes a file so that it appears whole or not at all, 0600, synced with its directory; as root it belongs to the
/// directory's owner. With Existing::keep a file already there wins: FILE_EXISTS.
Status write_private_file(const std::filesystem::path& file, std::span<const std::byte> contents, Existing existing);

}  // namespace penstock::control
