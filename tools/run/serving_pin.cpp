#include "tools/run/serving_pin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "common/escape.h"
#include "common/unique_fd.h"
#include "control/gate/identity.h"

namespace penstock::tools {
namespace {

inline constexpr std::size_t pin_file_max = 256;

std::string pin_file(const std::string& state) { return state + "/daemon.pin"; }

/// nullopt when nothing was noted yet.
Result<std::optional<control::Pin>> noted_pin(const std::string& state) {
  const std::string file = pin_file(state);
  const UniqueFd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (!fd && errno == ENOENT) return std::optional<control::Pin>{};
  if (!fd) return error_from_errno(errno, "read", file);
  char buffer[pin_file_max];
  const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
  if (got < 0) return error_from_errno(errno, "read", file);
  std::string_view text{buffer, static_cast<std::size_t>(got)};
  if (text.ends_with('\n')) text.remove_suffix(1);
  const auto pin = control::parse_pin(text);
  if (!pin)
    return Error{
        ErrorCode::CONFIG_INVALID,
        fmt::format("{} holds no fingerprint; remove it, `penstockd serve` writes it again", escape_for_display(file)),
        file};
  return pin;
}

}  // namespace

Status note_serving_pin(const std::string& state, const std::string& fingerprint) {
  const std::string file = pin_file(state);
  const std::string fresh = fmt::format("{}.{}", file, ::getpid());
  const std::string text = fingerprint + "\n";
  const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644)};
  if (!fd) return error_from_errno(errno, "write", fresh);
  const bool wrote = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!wrote || ::rename(fresh.c_str(), file.c_str()) != 0) {
    const int cause = errno;
    ::unlink(fresh.c_str());
    return error_from_errno(cause, "write", file);
  }
  return {};
}

Result<control::Pin> serving_pin(const std::string& state, const TokenCommand& command) {
  if (command.cert_file) {
    const auto identity = control::Identity::load(*command.cert_file, *command.key_file);
    if (!identity) return identity.error();
    return identity->pin();
  }
  const auto noted = noted_pin(state);
  if (!noted) return noted.error();
  if (*noted) return **noted;
  const auto identity = control::Identity::load_or_create(state);
  if (!identity) return identity.error();
  return identity->pin();
}

}  // namespace penstock::tools
