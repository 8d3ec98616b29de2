#include "control/transfer/receipt_spool.h"

#include <optional>
#include <utility>
#include <vector>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"

namespace penstock::control {
namespace {

// A record sorts as (path, size, digest): path, NUL, size (8), digest, entry (8), length of the digest (1). No path has
// a NUL, so a path comes before all that it begins.
constexpr std::size_t record_extra = 1 + 8 + 8 + 1;

void append_u64(std::vector<std::byte>& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift & 0xff));
}

struct Spooled {
  ReceiptLine line;
  std::uint64_t entry = 0;
};

Spooled decode(std::span<const std::byte> record) {
  const auto digest_size = std::to_integer<std::size_t>(record.back());
  const std::size_t path_size = record.size() - record_extra - digest_size;
  bytes::WireReader in{record};
  Spooled out;
  out.line.path = bytes::as_text(in.bytes(path_size));
  in.skip(1);
  out.line.size = in.u64();
  const auto digest = in.bytes(digest_size);
  out.line.digest.assign(digest.begin(), digest.end());
  out.entry = in.u64();
  return out;
}

}  // namespace

ReceiptSpool::ReceiptSpool(int directory, LandingNames landing)
    : directory_(directory), landing_(std::move(landing)), sorter_(directory, "receipt") {}

Status ReceiptSpool::keep(const storage::FileReport& report) {
  const std::string path = landed_path(report, landing_);
  if (path.find('\0') != std::string::npos || path.size() > storage::SpillSorter::record_bytes_max - 256)
    return Error{ErrorCode::PATH_REFUSED, "a path is too long, or has a NUL, and can not stand in a receipt", path};
  std::vector<std::byte> record;
  const auto text = bytes::as_bytes(path);
  const auto digest = report.digest.bytes();
  record.reserve(path.size() + record_extra + digest.size());
  record.insert(record.end(), text.begin(), text.end());
  record.push_back(std::byte{0});
  append_u64(record, report.size);
  record.insert(record.end(), digest.begin(), digest.end());
  append_u64(record, report.index);
  record.push_back(static_cast<std::byte>(digest.size()));

  const std::lock_guard lock(mutex_);
  if (report.path.empty() && !report.target_path.empty()) landed_as_ = last_component(report.target_path);
  return sorter_.add(record);
}

std::string ReceiptSpool::landed_as() const {
  const std::lock_guard lock(mutex_);
  return landed_as_;
}

storage::KeepReport keep_in(std::shared_ptr<ReceiptSpool> receipts) {
  if (receipts == nullptr) return {};
  return [receipts = std::move(receipts)](const storage::FileReport& report) { return receipts->keep(report); };
}

template <class Use>
Status ReceiptSpool::for_each(std::string_view landed_as, const std::set<std::uint64_t>& left_out, Use use) {
  const std::lock_guard lock(mutex_);
  std::optional<std::string> last;
  return sorter_.for_each([&](std::span<const std::byte> record) -> Status {
    auto [line, entry] = decode(record);
    if (left_out.contains(entry)) return {};
    // The only file of a transfer of one file; its name is known at the end.
    if (line.path.empty()) line.path = landed_as;
    if (last == line.path) return {};
    last = line.path;
    return use(std::move(line));
  });
}

Result<ReceiptList> ReceiptSpool::list(std::string_view landed_as, const std::set<std::uint64_t>& left_out) {
  ReceiptList list{directory_};
  Status made = for_each(landed_as, left_out, [&](const ReceiptLine& line) { return list.add(line); });
  if (made) made = list.finish();
  if (!made) return std::move(made).error();
  return list;
}

Result<std::vector<ReceiptLine>> ReceiptSpool::lines(std::string_view landed_as,
                                                     const std::set<std::uint64_t>& left_out) {
  std::vector<ReceiptLine> lines;
  Status made = for_each(landed_as, left_out, [&](ReceiptLine line) {
    lines.push_back(std::move(line));
    return Status{};
  });
  if (!made) return std::move(made).error();
  return lines;
}

}  // namespace penstock::control
