#include "control/receipt/receipt_list.h"

#include <algorithm>

#include "common/bytes/give_back.h"
#include "common/bytes/view.h"

namespace penstock::control {
namespace {
constexpr std::size_t piece_bytes = 32 * 1024;
}  // namespace

ReceiptList::ReceiptList(int directory) : file_(directory, "receipt") {}

Status ReceiptList::add(const ReceiptLine& line) {
  const std::string text = encode_receipt_list({&line, 1});
  const auto bytes = bytes::as_bytes(text);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  ++files_;
  bytes_ += line.size;
  only_ = files_ == 1 ? std::optional{line} : std::nullopt;
  return buffer_.size() < piece_bytes ? Status{} : flush();
}

Status ReceiptList::flush() {
  hasher_.update(buffer_);
  Status written = file_.append(buffer_);
  buffer_.clear();
  return written;
}

Status ReceiptList::finish() {
  Status written = flush();
  bytes::give_back(buffer_);
  sha256_ = hasher_.digest().bytes;
  return written;
}

Status ReceiptList::text(const Use& use) const {
  std::vector<std::byte> piece;
  for (std::uint64_t at = 0; at < file_.size(); at += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, file_.size() - at)));
    if (auto read = file_.read(at, piece); !read) return read;
    if (auto used = use(piece); !used) return used;
  }
  return {};
}

}  // namespace penstock::control
