#include "dataplane/storage/journal_index.h"

#include <algorithm>
#include <cerrno>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"
#include "common/digest/xxh3.h"
#include "dataplane/storage/growing_writer.h"
#include "dataplane/storage/spill_sorter.h"

namespace penstock::storage {

namespace {

constexpr std::size_t slot_bytes = 8 + 8;
constexpr std::size_t slots_per_page = 256;
constexpr std::size_t record_bytes_typical = 512;
constexpr std::size_t write_bytes = 64 * 1024;

std::uint64_t hash_of(const std::string& path) {
  const auto digest = digest::xxh3(bytes::as_bytes(path));
  bytes::WireReader in{digest.bytes};
  return in.u64();
}

}  // namespace

JournalIndex::JournalIndex(TransferIdentity identity) : identity_(std::move(identity)), slots_(-1, "journal's index") {}

Result<std::optional<JournalIndex>> JournalIndex::build(JournalBytes read, int directory, FileCalls& calls) {
  std::optional<JournalIndex> index;
  JournalScanner scanner{read};
  SpillSorter sorter{directory, "journal's index", calls};
  std::vector<std::byte> slot;
  while (true) {
    auto found = scanner.next();
    if (!found) return std::move(found).error();
    if (!*found) break;
    const auto& record = (*found)->record;
    if (const auto* const identity = std::get_if<TransferIdentity>(&record)) index.emplace(*identity);
    if (std::holds_alternative<Finished>(record)) index->finished_ = true;
    const auto* const path = path_of(record);
    if (path == nullptr) continue;
    slot.clear();
    GrowingWriter out{slot};
    out.u64(hash_of(*path));
    out.u64((*found)->at);
    if (auto added = sorter.add(slot); !added) return std::move(added).error();
  }
  if (!index) return index;
  index->read_ = std::move(read);
  index->records_ = scanner.records();
  index->valid_bytes_ = scanner.valid_bytes();
  index->count_ = sorter.records();
  index->settled_.resize(static_cast<std::size_t>(index->count_));
  index->slots_ = SpillFile{directory, "journal's index", calls};
  std::vector<std::byte> out;
  std::uint64_t number = 0;
  auto sorted = sorter.for_each([&](std::span<const std::byte> each) -> Status {
    if (number++ % slots_per_page == 0) index->page_hashes_.push_back(bytes::WireReader{each}.u64());
    out.insert(out.end(), each.begin(), each.end());
    if (out.size() < write_bytes) return {};
    Status appended = index->slots_.append(out);
    out.clear();
    return appended;
  });
  if (sorted) sorted = index->slots_.append(out);
  if (!sorted) return std::move(sorted).error();
  return index;
}

auto JournalIndex::slot(std::uint64_t number) const -> Result<Slot> {
  const auto page = static_cast<std::size_t>(number / slots_per_page);
  if (page_ != page) {
    page_.reset();
    const std::uint64_t at = std::uint64_t{page} * slots_per_page * slot_bytes;
    page_bytes_.resize(
        static_cast<std::size_t>(std::min<std::uint64_t>(slots_per_page * slot_bytes, slots_.size() - at)));
    if (auto read = slots_.read(at, page_bytes_); !read) return std::move(read).error();
    page_ = page;
  }
  bytes::WireReader in{
      std::span{page_bytes_}.subspan(static_cast<std::size_t>(number % slots_per_page) * slot_bytes, slot_bytes)};
  const std::uint64_t hash = in.u64();
  return Slot{.hash = hash, .at = in.u64()};
}

Result<std::uint64_t> JournalIndex::lower_bound(std::uint64_t hash) const {
  // The page before the first that begins at or above the hash may end with it.
  const auto above = std::lower_bound(page_hashes_.begin(), page_hashes_.end(), hash);
  const auto page = static_cast<std::uint64_t>(above - page_hashes_.begin());
  std::uint64_t low = page == 0 ? 0 : (page - 1) * slots_per_page;
  std::uint64_t high = std::min(count_, page * slots_per_page);
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto found = slot(middle);
    if (!found) return found.error();
    if (found->hash < hash) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Result<JournalRecord> JournalIndex::record_at(std::uint64_t at) const {
  std::vector<std::byte> data(record_bytes_typical);
  for (;;) {
    const auto got = read_(at, data);
    if (!got) return got.error();
    if (*got < journal_prefix_size) break;
    const std::size_t size = journal_prefix_size + bytes::WireReader{data}.u32() + journal_crc_size;
    if (size > journal_record_size_max) break;
    if (size > data.size()) {
      data.resize(size);
      continue;
    }
    auto record = decode_journal_record(std::span{data}.first(*got), std::nullopt);
    if (!record) break;
    return std::move(*record);
  }
  // It was whole when the index was built.
  return error_from_errno(EIO, "read again", "the journal");
}

auto JournalIndex::entries_of(const std::string& path) const -> Result<std::vector<Entry>> {
  std::vector<Entry> entries;
  if (count_ == 0) return entries;
  const std::uint64_t hash = hash_of(path);
  auto number = lower_bound(hash);
  if (!number) return std::move(number).error();
  for (; *number < count_; ++*number) {
    const auto found = slot(*number);
    if (!found) return found.error();
    if (found->hash != hash) break;
    if (settled_[static_cast<std::size_t>(*number)]) continue;
    auto record = record_at(found->at);
    if (!record) return std::move(record).error();
    if (*path_of(*record) == path) entries.push_back({*number, std::move(*record)});  // else another of this hash
  }
  return entries;
}

Result<std::optional<JournalFile>> JournalIndex::find(const std::string& path) const {
  const auto entries = entries_of(path);
  if (!entries) return entries.error();
  last_found_ = {.path = path, .slots = {}};
  for (const auto& entry : *entries) last_found_.slots.push_back(entry.slot);
  JournalFile file;
  for (const auto& entry : *entries) {
    if (!file.apply(entry.record)) break;
  }
  return file.empty() ? std::nullopt : std::optional{std::move(file)};
}

void JournalIndex::settle(const std::string& path) {
  if (last_found_.path != path && !find(path)) return;
  for (const std::uint64_t slot : last_found_.slots) settled_[static_cast<std::size_t>(slot)] = true;
}

Status JournalIndex::for_each_left(const Use& use) const {
  struct Path {
    std::string name;
    JournalFile file;
    bool believed = true;
  };
  std::vector<Path> paths;  // of one hash: one, but for a collision
  std::uint64_t hash = 0;
  const auto flush = [&] {
    for (const auto& path : paths) {
      if (!path.file.empty()) use(path.name, path.file);
    }
    paths.clear();
  };
  for (std::uint64_t number = 0; number < count_; ++number) {
    if (settled_[static_cast<std::size_t>(number)]) continue;
    const auto where = slot(number);
    if (!where) return where.error();
    if (where->hash != hash) flush();
    hash = where->hash;
    const auto record = record_at(where->at);
    if (!record) return record.error();
    auto at =
        std::find_if(paths.begin(), paths.end(), [&](const Path& path) { return path.name == *path_of(*record); });
    if (at == paths.end()) at = paths.insert(at, {.name = *path_of(*record), .file = {}});
    at->believed = at->believed && at->file.apply(*record);
  }
  flush();
  return {};
}

}  // namespace penstock::storage
