#include "control/receipt/receipt_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "common/unique_fd.h"

namespace penstock::control {
namespace {

constexpr std::string_view extension = ".receipt";

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, "write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Result<std::filesystem::path> ReceiptStore::store(const Receipt& receipt) const {
  ReceiptList list{-1};
  for (const auto& line : receipt.lines) {
    if (auto added = list.add(line); !added) return std::move(added).error();
  }
  if (auto finished = list.finish(); !finished) return std::move(finished).error();
  Receipt head = receipt;
  head.lines.clear();
  return store(head, list);
}

Result<std::filesystem::path> ReceiptStore::store(const Receipt& receipt, const ReceiptList& list) const {
  PENSTOCK_CHECK(receipt.lines.empty() && receipt.header.list_sha256 == list.sha256());
  std::error_code failed;
  std::filesystem::create_directories(directory_, failed);
  if (failed) return error_from_errno(failed.value(), "create", directory_.string());
  const auto target = directory_ / (receipt.header.transfer + std::string{extension});
  std::array<std::byte, 8> random{};
  crypto::random_bytes(random);
  const std::string temporary = (directory_ / (".new-" + bytes::to_hex(random))).string();
  {
    const UniqueFd fd{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) return error_from_errno(errno, "create", temporary);
    auto written = write_all(fd.get(), encode_receipt(receipt), temporary);
    if (written) {
      written = list.text(
          [&](std::span<const std::byte> piece) { return write_all(fd.get(), bytes::as_text(piece), temporary); });
    }
    if (written && ::fsync(fd.get()) != 0) written = error_from_errno(errno, "sync", temporary);
    if (!written) {
      ::unlink(temporary.c_str());
      return written.error();
    }
  }
  if (::rename(temporary.c_str(), target.c_str()) != 0) {
    const int cause = errno;
    ::unlink(temporary.c_str());
    return error_from_errno(cause, "create", target.string());
  }
  const UniqueFd directory{::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory || ::fsync(directory.get()) != 0) return error_from_errno(errno, "sync", directory_.string());
  return target;
}

Result<std::filesystem::path> ReceiptStore::find(const std::string& id) const {
  std::vector<std::filesystem::path> found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{directory_, failed}) {
    const auto name = entry.path().filename().string();
    if (!id.empty() && name.ends_with(extension) && name.starts_with(id)) found.push_back(entry.path());
  }
  if (found.size() > 1)
    return Error{ErrorCode::USAGE, "several receipts begin with " + escape_for_display(id) + "; write more digits"};
  if (found.empty())
    return Error{ErrorCode::NOT_FOUND,
                 "there is no receipt " + escape_for_display(id) + "; `penstock receipt list` shows all", id};
  return found.front();
}

Result<std::vector<ReceiptStore::Listed>> ReceiptStore::list() const {
  std::vector<Listed> found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{directory_, failed}) {
    if (!entry.path().filename().string().ends_with(extension)) continue;
    auto receipt = read_receipt(entry.path());
    if (receipt) found.push_back({entry.path(), std::move(receipt->header)});
  }
  std::ranges::sort(found, [](const Listed& a, const Listed& b) {
    return std::tie(a.fields.finished, a.fields.transfer) < std::tie(b.fields.finished, b.fields.transfer);
  });
  return found;
}

}  // namespace penstock::control
