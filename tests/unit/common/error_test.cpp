#include "common/error.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <set>

#include "common/result.h"
#include "common/wire_error.h"
#include "tests/printers.h"

namespace penstock {
namespace {

constexpr ErrorTraits listed[] = {
#define PENSTOCK_LISTED(number, name, exit, retryable, meaning) \
  ErrorTraits{static_cast<ErrorCode>(number), #name, exit, retryable, meaning},
    PENSTOCK_ERRORS(PENSTOCK_LISTED)
#undef PENSTOCK_LISTED
};

TEST_CASE("error: every number is 1000 + 100 x exit + n, with n from 1 to 99, and none is used twice") {
  std::set<int> numbers;
  std::set<std::string_view> names;
  for (const ErrorTraits& row : listed) {
    CAPTURE(row.name);
    const int number = static_cast<int>(row.code);
    const int n = number - 1000 - 100 * row.exit;
    CHECK(n >= 1);
    CHECK(n <= 99);
    CHECK(row.exit >= 1);
    CHECK(row.exit <= 10);
    CHECK(numbers.insert(number).second);
    CHECK(names.insert(row.name).second);
    CHECK_FALSE(row.meaning.empty());
  }
  CHECK(numbers.size() == 39);  // grows by hand: whoever adds an error looks here and at CLI.md
}

TEST_CASE("error: the two numbers that scripts were promised") {
  CHECK(static_cast<int>(ErrorCode::FILE_EXISTS) == 1607);
  CHECK(static_cast<int>(ErrorCode::TYPE_CONFLICT) == 1608);
}

TEST_CASE("error: traits and numbers lead to the same row") {
  for (const ErrorTraits& row : listed) {
    CHECK(error_traits(row.code).name == row.name);
    CHECK(error_traits(row.code).exit == row.exit);
    CHECK(error_traits(row.code).retryable == row.retryable);
    CHECK(error_code_from_number(static_cast<std::uint32_t>(row.code)) == row.code);
  }
}

TEST_CASE("error: a peer's unknown number is no code") {
  for (const std::uint32_t number : {0U, 1U, 1000U, 1100U, 1199U, 9999U, 65536U + 1607U, 0xffffffffU})
    CHECK_FALSE(error_code_from_number(number).has_value());
}

TEST_CASE("error: a failed system call becomes its own code and a sentence with the escaped path") {
  const std::pair<int, ErrorCode> expected[] = {{ENOSPC, ErrorCode::NO_SPACE},
                                                {EDQUOT, ErrorCode::QUOTA_EXCEEDED},
                                                {EACCES, ErrorCode::PERMISSION_DENIED},
                                                {EPERM, ErrorCode::PERMISSION_DENIED},
                                                {EROFS, ErrorCode::PERMISSION_DENIED},
                                                {ENOENT, ErrorCode::NOT_FOUND},
                                                {ENOTDIR, ErrorCode::NOT_A_DIRECTORY},
                                                {EISDIR, ErrorCode::IS_A_DIRECTORY},
                                                {ENAMETOOLONG, ErrorCode::NAME_TOO_LONG},
                                                {ELOOP, ErrorCode::PATH_REFUSED},
                                                {EIO, ErrorCode::IO_ERROR},
                                                {EMFILE, ErrorCode::IO_ERROR}};
  for (const auto& [number, code] : expected) CHECK(error_from_errno(number, "open", "x").code == code);

  const Error error = error_from_errno(ENOENT, "open", "/data/a\nb");
  CHECK(error.message == "cannot open /data/a\\nb: No such file or directory");
  CHECK(error.path == "/data/a\nb");
  CHECK(error.side == ErrorSide::local);
  CHECK(error_from_errno(EIO, "sync", "").message == "cannot sync: Input/output error");
}

TEST_CASE("error: told of the path that the user knows, the sentence names that path and no part of a word") {
  const Error relative = told_of(error_from_errno(ENOENT, "open the directory", "q"), "/in/q");
  CHECK(relative.message == "cannot open the directory /in/q: No such file or directory");
  CHECK(relative.path == "/in/q");
  CHECK(told_of(error_from_errno(EACCES, "open", "no"), "/no").message == "cannot open /no: Permission denied");
  CHECK(told_of(Error{ErrorCode::FILE_EXISTS, "f exists already", "f"}, "/a\nf").message == "/a\\nf exists already");
  CHECK(told_of(Error{ErrorCode::IO_ERROR, "something else", "e"}, "/e").message == "something else");
  CHECK(told_of(error_from_errno(EIO, "sync", ""), "/x").path == "/x");
}

TEST_CASE("result: holds a value or an error and says which") {
  const auto half = [](int n) -> Result<int> {
    if (n % 2 != 0) return Error{.code = ErrorCode::USAGE, .message = "odd"};
    return n / 2;
  };
  CHECK(half(4).value() == 2);
  CHECK(half(3).error().code == ErrorCode::USAGE);
  CHECK_FALSE(half(3).ok());
  CHECK(Status{}.ok());
  CHECK_FALSE(Status{Error{.code = ErrorCode::INTERNAL, .message = ""}}.ok());
}

TEST_CASE("wire error: each has a name of its own") {
  std::set<std::string_view> names;
  for (const WireError error : {WireError::truncated, WireError::trailing_bytes, WireError::unexpected_packet_type,
                                WireError::unknown_frame, WireError::value_out_of_range, WireError::not_ordered})
    CHECK(names.insert(to_string(error)).second);
}

}  // namespace
}  // namespace penstock
