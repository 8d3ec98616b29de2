#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// Every error a human or a script can meet (CLI.md section 5): number, NAME, process exit, retryable, meaning.
/// number = 1000 + 100 x exit + n. Numbers are frozen: never reused, never renumbered; the manual is generated from
/// here.
// clang-format off
#define PENSTOCK_ERRORS(X)                                                                                          \
  X(1101, IO_ERROR,          1, false, "a file, directory or device could not be read or written")                   \
  X(1102, SOURCE_CHANGED,    1, true,  "a source file changed while it was being sent")                              \
  X(1103, TRANSFER_ACTIVE,   1, true,  "another client is writing to the same target")                               \
  X(1104, CANCELLED,         1, true,  "the transfer was cancelled by the operator")                                 \
  X(1105, PEER_LOST,         1, true,  "the connection to the other end was lost")                                   \
  X(1106, INTERRUPTED,       1, true,  "a signal ended the command")                                                 \
  X(1107, INTERNAL,          1, false, "a fault of penstock itself")                                                 \
  X(1201, USAGE,             2, false, "the command line makes no sense")                                            \
  X(1202, CONFIG_INVALID,    2, false, "a configuration file or directory can not be used")                          \
  X(1301, RESOLVE_FAILED,    3, true,  "the host name has no address")                                               \
  X(1302, CONNECT_REFUSED,   3, true,  "nothing answers at the address")                                             \
  X(1303, NOT_PENSTOCK,      3, false, "what answers does not speak penstock")                                       \
  X(1304, VERSION_MISMATCH,  3, false, "the two ends share no protocol version")                                     \
  X(1305, SERVER_BUSY,       3, true,  "the daemon takes no more work at the moment")                                \
  X(1306, DRAINING,          3, true,  "the daemon is shutting down")                                                \
  X(1307, UDP_BLOCKED,       3, true,  "no UDP datagram reaches the other end")                                      \
  X(1401, PIN_MISMATCH,      4, false, "the daemon's key is not the pinned one")                                     \
  X(1402, PIN_UNKNOWN,       4, false, "nothing vouches for the daemon's key")                                       \
  X(1403, CERT_INVALID,      4, false, "the daemon's certificate is not valid for this host")                        \
  X(1404, NOT_REGISTERED,    4, false, "this client is not registered with the daemon")                              \
  X(1405, AUTH_FAILED,       4, false, "the daemon does not accept this client")                                     \
  X(1406, REVOKED,           4, false, "the daemon's operator has revoked this client")                              \
  X(1407, TOKEN_REFUSED,     4, false, "the token is wrong, used, expired or for another daemon")                    \
  X(1501, PERMISSION_DENIED, 5, false, "the grants or the file system do not allow it")                              \
  X(1502, PATH_REFUSED,      5, false, "the path is not one that penstock follows")                                  \
  X(1503, NOT_FOUND,         5, false, "there is no such file or directory")                                         \
  X(1504, NOT_A_DIRECTORY,   5, false, "a directory is needed here")                                                 \
  X(1505, IS_A_DIRECTORY,    5, false, "a file is needed here")                                                      \
  X(1506, NAME_TOO_LONG,     5, false, "a name or path is longer than the file system takes")                        \
  X(1507, SPECIAL_FILE,      5, false, "devices, sockets and pipes are not transferred")                             \
  X(1607, FILE_EXISTS,       6, false, "the target exists and overwriting was not asked for")                        \
  X(1608, TYPE_CONFLICT,     6, false, "a file stands where a directory must go, or the reverse")                    \
  X(1609, NAME_COLLISION,    6, false, "two sources of this transfer land on one target")                            \
  X(1701, DIGEST_MISMATCH,   7, true,  "the bytes still differ after three repair rounds")                           \
  X(1702, SIGNATURE_INVALID, 7, false, "a receipt's signature does not verify")                                      \
  X(1801, NO_SPACE,          8, true,  "the target's file system is full")                                           \
  X(1802, QUOTA_EXCEEDED,    8, false, "the target's quota is used up")                                              \
  X(1901, TIMED_OUT,         9, true,  "nothing moved for the allowed time")                                         \
  X(2001, PARTIAL,          10, false, "some files were left out, the others are complete")
// clang-format on

enum class ErrorCode : std::uint16_t {
#define PENSTOCK_ERROR_ENUMERATOR(number, name, exit, retryable, meaning) name = number,
  PENSTOCK_ERRORS(PENSTOCK_ERROR_ENUMERATOR)
#undef PENSTOCK_ERROR_ENUMERATOR
};

struct ErrorTraits {
  ErrorCode code;
  std::string_view name;
  int exit;
  bool retryable;
  std::string_view meaning;
};

/// The row of the list above.
const ErrorTraits& error_traits(ErrorCode code);
/// The row with this number, if there is one; for numbers that came from a peer.
std::optional<ErrorCode> error_code_from_number(std::uint32_t number);

enum class ErrorSide : std::uint8_t { local, remote };

/// What went wrong, for a human: `message` is one clear sentence that names the thing and the way out.
struct Error {
  ErrorCode code;
  std::string message;
  std::string path = {};  // raw bytes, empty when no path is concerned; escape before printing
  ErrorSide side = ErrorSide::local;

  bool operator==(const Error&) const = default;
};

/// An `Error` for a failed system call: ENOSPC and EDQUOT, EACCES, EPERM and EROFS, ENOENT, ENOTDIR, EISDIR,
/// ENAMETOOLONG and ELOOP get their own codes, all else IO_ERROR. The message reads "cannot DOING PATH: REASON".
Error error_from_errno(int errno_value, std::string_view doing, std::string_view path);

/// The same error about `path`, the name by which the user knows the thing: where the message names the error's own
/// path (one component, or relative to some descriptor), as error_from_errno does or at its beginning, it names `path`.
Error told_of(Error error, std::string_view path);

}  // namespace penstock
