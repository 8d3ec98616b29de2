#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "common/escape.h"
#include "common/path/beneath.h"
#include "control/receipt/receipt.h"
#include "dataplane/storage/block.h"
#include "dataplane/storage/file_digest.h"

namespace penstock::control {
namespace {

constexpr std::uint64_t receipt_size_max = 1 << 30;

/// Reads until `out` is full or the file ends.
Result<std::size_t> read_fully(int fd, std::span<std::byte> out, const std::string& path) {
  std::size_t got = 0;
  while (got < out.size()) {
    const ssize_t n = ::read(fd, out.data() + got, out.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, "read", path);
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

Status check_file(int root, const ReceiptLine& line, ReceiptDigest algorithm, std::span<std::byte> block) {
  const auto where = path::SafePath::parse_relative(line.path);
  if (!where || where->is_root())
    return Error{ErrorCode::PATH_REFUSED,
                 "the receipt names " + escape_for_display(line.path) + ", which is not a path beneath a directory",
                 line.path};
  const auto parent = path::open_directory_beneath(root, where->parent(), path::DirectoryAccess::search);
  if (!parent) {
    Error error = parent.error();
    error.path = line.path;
    return error;
  }
  auto file = path::open_source_at(parent->get(), where->name());
  if (!file) {
    Error error = file.error();
    error.path = line.path;
    return error;
  }
  digest::Sha256Hasher whole;
  storage::FileDigestBuilder from_blocks{line.size};
  std::uint64_t block_number = 0;
  std::uint64_t size = 0;
  for (;;) {
    const auto got = read_fully(file->get(), block, line.path);
    if (!got) return got.error();
    if (*got == 0) break;
    size += *got;
    if (size > line.size) break;  // longer than it should be: no block of it has a place
    const auto bytes = block.first(*got);
    if (algorithm == ReceiptDigest::sha256) {
      whole.update(bytes);
    } else {
      from_blocks.add(block_number++, digest::xxh3(bytes));
    }
    if (*got < block.size()) break;
  }
  bool equal = false;
  if (algorithm == ReceiptDigest::sha256) {
    equal = std::ranges::equal(whole.digest().bytes, line.digest);
  } else {
    const auto digest = from_blocks.digest();
    equal = digest && std::ranges::equal(digest->bytes, line.digest);
  }
  if (size != line.size || !equal)
    return Error{ErrorCode::DIGEST_MISMATCH,
                 escape_for_display(line.path) + " is not the file that the receipt describes; transfer it again",
                 line.path};
  return {};
}

}  // namespace

Result<Receipt> read_receipt(const std::filesystem::path& file) {
  const std::string name = file.string();
  const UniqueFd fd{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) return error_from_errno(errno, "open", name);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return error_from_errno(errno, "examine", name);
  if (S_ISDIR(info.st_mode)) return error_from_errno(EISDIR, "read", name);
  if (!S_ISREG(info.st_mode)) return Error{ErrorCode::SPECIAL_FILE, escape_for_display(name) + " is not a file", name};
  if (static_cast<std::uint64_t>(info.st_size) > receipt_size_max)
    return Error{ErrorCode::SIGNATURE_INVALID, escape_for_display(name) + " is too large to be a receipt", name};
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  const auto got = read_fully(fd.get(), std::as_writable_bytes(std::span{text}), name);
  if (!got) return got.error();
  text.resize(*got);
  auto receipt = decode_receipt(text);
  if (!receipt) {
    Error error = receipt.error();
    error.message = escape_for_display(name) + ": " + error.message;
    error.path = name;
    return error;
  }
  return receipt;
}

Result<std::uint64_t> check_receipt(const Receipt& receipt, const std::filesystem::path& directory,
                                    const std::function<void(const Error&)>& on_bad) {
  const auto root = path::open_trusted_directory(directory.string());
  if (!root) return root.error();
  std::vector<std::byte> block(storage::block_size);
  std::uint64_t bad = 0;
  std::optional<Error> worst;
  for (const auto& line : receipt.lines) {
    const auto status = check_file(root->get(), line, receipt.header.digest, block);
    if (status) continue;
    ++bad;
    const bool differs = status.error().code == ErrorCode::DIGEST_MISMATCH;
    if (!worst || (differs && worst->code != ErrorCode::DIGEST_MISMATCH)) worst = status.error();
    if (on_bad) on_bad(status.error());
  }
  if (!worst) return receipt.lines.size();
  if (bad > 1)
    worst->message = std::to_string(bad) + " of " + std::to_string(receipt.lines.size()) +
                     " files are not as the receipt says; one of them: " + worst->message;
  return *std::move(worst);
}

}  // namespace penstock::control
