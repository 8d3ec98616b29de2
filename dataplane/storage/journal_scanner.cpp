#include "dataplane/storage/journal_scanner.h"

#include <algorithm>
#include <utility>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"

namespace penstock::storage {

namespace {
// Less asks the kernel more often, more is memory for every journal that is opened.
constexpr std::size_t buffer_bytes = 256 * 1024;
}  // namespace

JournalBytes bytes_in_memory(std::span<const std::byte> journal) {
  return [journal](std::uint64_t at, std::span<std::byte> into) -> Result<std::size_t> {
    if (at >= journal.size()) return std::size_t{0};
    const auto from = journal.subspan(static_cast<std::size_t>(at));
    const std::size_t count = std::min(from.size(), into.size());
    std::ranges::copy(from.first(count), into.begin());
    return count;
  };
}

Result<std::span<const std::byte>> JournalScanner::view(std::size_t wanted) {
  auto skip = static_cast<std::size_t>(at_ - buffer_at_);
  if (buffer_.size() - skip < wanted) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(skip));
    buffer_at_ = at_;
    skip = 0;
    const std::size_t kept = buffer_.size();
    buffer_.resize(std::max(wanted, buffer_bytes));
    auto got = read_(at_ + kept, std::span{buffer_}.subspan(kept));
    buffer_.resize(kept + (got ? *got : 0));
    if (!got) return std::move(got).error();
  }
  return std::span<const std::byte>{buffer_}.subspan(skip);
}

auto JournalScanner::next() -> Result<std::optional<Found>> {
  if (ended_) return std::optional<Found>{};
  if (at_ == 0) {
    auto head = view(journal_magic.size());
    if (!head) return std::move(head).error();
    const auto magic = bytes::as_bytes(journal_magic);
    if (head->size() < magic.size() || !std::equal(magic.begin(), magic.end(), head->begin())) {
      ended_ = true;
      return std::optional<Found>{};
    }
    at_ = magic.size();
  }
  auto data = view(journal_prefix_size);
  if (!data) return std::move(data).error();
  bytes::WireReader prefix{*data};
  const std::uint64_t size = journal_prefix_size + std::uint64_t{prefix.u32()} + journal_crc_size;
  if (prefix.ok() && size <= journal_record_size_max) {
    data = view(static_cast<std::size_t>(size));
    if (!data) return std::move(data).error();
    std::size_t taken = 0;
    if (auto record = decode_journal_record(*data, records_, &taken)) {
      Found found{.at = at_, .record = std::move(*record)};
      at_ += taken;
      ++records_;
      return std::optional{std::move(found)};
    }
  }
  ended_ = true;
  return std::optional<Found>{};
}

}  // namespace penstock::storage
