#include "common/error.h"

#include <array>
#include <cerrno>
#include <system_error>

#include "common/check.h"
#include "common/escape.h"

namespace penstock {
namespace {

constexpr std::array error_rows{
#define PENSTOCK_ERROR_ROW(number, name, exit, retryable, meaning) \
  ErrorTraits{ErrorCode::name, #name, exit, retryable, meaning},
    PENSTOCK_ERRORS(PENSTOCK_ERROR_ROW)
#undef PENSTOCK_ERROR_ROW
};

const ErrorTraits* row_of(std::uint32_t number) {
  for (const ErrorTraits& row : error_rows)
    if (static_cast<std::uint32_t>(row.code) == number) return &row;
  return nullptr;
}

ErrorCode code_of(int errno_value) {
  switch (errno_value) {
    case ENOSPC:
      return ErrorCode::NO_SPACE;
    case EDQUOT:
      return ErrorCode::QUOTA_EXCEEDED;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::PERMISSION_DENIED;
    case ENOENT:
      return ErrorCode::NOT_FOUND;
    case ENOTDIR:
      return ErrorCode::NOT_A_DIRECTORY;
    case EISDIR:
      return ErrorCode::IS_A_DIRECTORY;
    case ENAMETOOLONG:
      return ErrorCode::NAME_TOO_LONG;
    case ELOOP:
      return ErrorCode::PATH_REFUSED;  // a link where none is followed
    default:
      return ErrorCode::IO_ERROR;
  }
}

}  // namespace

const ErrorTraits& error_traits(ErrorCode code) {
  const ErrorTraits* row = row_of(static_cast<std::uint32_t>(code));
  PENSTOCK_CHECK(row != nullptr);
  return *row;
}

std::optional<ErrorCode> error_code_from_number(std::uint32_t number) {
  const ErrorTraits* row = row_of(number);
  if (row == nullptr) return std::nullopt;
  return row->code;
}

Error error_from_errno(int errno_value, std::string_view doing, std::string_view path) {
  std::string message = "cannot ";
  message += doing;
  if (!path.empty()) {
    message += ' ';
    message += escape_for_display(path);
  }
  message += ": ";
  message += std::generic_category().message(errno_value);  // unlike strerror, safe in threads
  return Error{.code = code_of(errno_value), .message = std::move(message), .path = std::string{path}};
}

Error told_of(Error error, std::string_view path) {
  if (!error.path.empty() && error.path != path) {
    // Only with what stands around it: a short name may be part of any word.
    const std::string old = escape_for_display(error.path);
    const auto named = error.message.find(" " + old + ": ");
    if (named != std::string::npos) {
      error.message.replace(named + 1, old.size(), escape_for_display(path));
    } else if (error.message.starts_with(old + " ")) {
      error.message.replace(0, old.size(), escape_for_display(path));
    }
  }
  error.path = path;
  return error;
}

}  // namespace penstock
