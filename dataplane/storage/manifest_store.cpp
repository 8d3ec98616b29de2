#include "dataplane/storage/manifest_store.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"
#include "common/check.h"
#include "dataplane/storage/growing_writer.h"

namespace penstock::storage {

namespace {

// Larger pages read more for one entry, smaller ones cost more bookkeeping; a page of plain names is about 20 KiB.
constexpr std::size_t page_entries_max = 256;
constexpr std::size_t page_bytes_max = 256 * 1024;
constexpr std::size_t pages_cached = 8;

std::size_t weight(const ManifestEntry& entry) {
  return sizeof(ManifestEntry) + entry.path.size() + entry.link_target.size() + entry.holes.size() * sizeof(Hole);
}

void encode(GrowingWriter& out, const ManifestEntry& entry) {
  out.u32(entry.root);
  out.text(entry.path);
  out.u8(static_cast<std::uint8_t>(entry.type));
  out.u64(entry.size);
  out.u32(entry.mode);
  out.u64(static_cast<std::uint64_t>(entry.mtime_ns));
  out.text(entry.link_target);
  out.bytes(entry.identity);
  out.u32(static_cast<std::uint32_t>(entry.holes.size()));
  for (const auto& hole : entry.holes) {
    out.u64(hole.offset);
    out.u64(hole.length);
  }
}

std::string read_text(bytes::WireReader& in) {
  const auto size = in.u32();
  return std::string{bytes::as_text(in.bytes(size))};
}

ManifestEntry decode(bytes::WireReader& in) {
  ManifestEntry entry;
  entry.root = in.u32();
  entry.path = read_text(in);
  entry.type = static_cast<FileType>(in.u8());
  entry.size = in.u64();
  entry.mode = in.u32();
  entry.mtime_ns = static_cast<std::int64_t>(in.u64());
  entry.link_target = read_text(in);
  const auto identity = in.bytes(entry.identity.size());
  if (in.ok()) std::copy(identity.begin(), identity.end(), entry.identity.begin());
  const auto holes = in.u32();
  for (std::uint32_t i = 0; i < holes && in.ok(); ++i) {
    const auto offset = in.u64();
    const auto length = in.u64();
    entry.holes.push_back({offset, length});
  }
  return entry;
}

}  // namespace

struct ManifestStore::Page {
  std::vector<ManifestEntry> entries;  // reserved once, so that pointers into it stay good while it grows
  std::vector<std::uint64_t> offsets;
  std::size_t weight = 0;
  Page() {
    entries.reserve(page_entries_max);
    offsets.reserve(page_entries_max);
  }
};

struct ManifestStore::PageInfo {
  std::uint64_t first_index = 0;
  std::uint64_t first_offset = 0;
  std::uint64_t position = 0;  // in the spill file
  std::uint64_t length = 0;
  std::shared_ptr<const Page> kept;  // without a spill file
};

ManifestStore::ManifestStore(int spill_directory, FileCalls& calls)
    : spill_directory_(spill_directory), spill_(spill_directory, "manifest", calls) {}
ManifestStore::~ManifestStore() = default;

Status ManifestStore::append(const ManifestEntry& entry) {
  const std::lock_guard lock(mutex_);
  if (last_ && (last_->entries.size() == page_entries_max || last_->weight >= page_bytes_max)) {
    if (auto status = close_page_locked(); !status) return status;
  }
  if (!last_) {
    last_ = std::make_shared<Page>();
    infos_.push_back({.first_index = entries_, .first_offset = bytes_, .position = 0, .length = 0, .kept = nullptr});
  }
  last_->entries.push_back(entry);
  last_->offsets.push_back(bytes_);
  last_->weight += weight(entry);
  ++entries_;
  bytes_ += entry.size;
  return {};
}

std::uint64_t ManifestStore::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::uint64_t ManifestStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Status ManifestStore::close_page_locked() {
  auto& info = infos_.back();
  if (spill_directory_ < 0) {
    info.kept = std::move(last_);
    return {};
  }
  std::vector<std::byte> encoded;
  GrowingWriter out{encoded};
  for (const auto& entry : last_->entries) encode(out, entry);
  info.position = spill_.size();
  info.length = encoded.size();
  if (auto appended = spill_.append(encoded); !appended) return appended;
  cache_.emplace_front(infos_.size() - 1, std::move(last_));
  if (cache_.size() > pages_cached) cache_.pop_back();
  last_.reset();
  return {};
}

auto ManifestStore::page_of_locked(std::size_t number) const -> Result<std::shared_ptr<const Page>> {
  if (last_ && number + 1 == infos_.size()) return std::shared_ptr<const Page>{last_};
  const auto& info = infos_[number];
  if (info.kept) return info.kept;
  for (auto at = cache_.begin(); at != cache_.end(); ++at) {
    if (at->first != number) continue;
    cache_.splice(cache_.begin(), cache_, at);
    return cache_.front().second;
  }
  std::vector<std::byte> encoded(info.length);
  if (auto read = spill_.read(info.position, encoded); !read) return std::move(read).error();
  auto page = std::make_shared<Page>();
  bytes::WireReader in{encoded};
  std::uint64_t offset = info.first_offset;
  while (in.ok() && in.remaining() > 0) {
    page->entries.push_back(decode(in));
    page->offsets.push_back(offset);
    offset += page->entries.back().size;
  }
  if (!in.ok()) return error_from_errno(EIO, "read", "the manifest's temporary file");
  cache_.emplace_front(number, page);
  if (cache_.size() > pages_cached) cache_.pop_back();
  return std::shared_ptr<const Page>{std::move(page)};
}

Result<std::shared_ptr<const ManifestEntry>> ManifestStore::get(std::uint64_t index) const {
  const std::lock_guard lock(mutex_);
  PENSTOCK_CHECK(index < entries_);
  const auto after = std::upper_bound(infos_.begin(), infos_.end(), index,
                                      [](std::uint64_t i, const PageInfo& info) { return i < info.first_index; });
  const auto number = static_cast<std::size_t>(after - infos_.begin()) - 1;
  auto page = page_of_locked(number);
  if (!page) return std::move(page).error();
  const ManifestEntry* entry = &(*page)->entries[index - infos_[number].first_index];
  return std::shared_ptr<const ManifestEntry>{std::move(*page), entry};
}

Result<std::uint64_t> ManifestStore::offset_of(std::uint64_t index) const {
  const std::lock_guard lock(mutex_);
  PENSTOCK_CHECK(index < entries_);
  const auto after = std::upper_bound(infos_.begin(), infos_.end(), index,
                                      [](std::uint64_t i, const PageInfo& info) { return i < info.first_index; });
  const auto number = static_cast<std::size_t>(after - infos_.begin()) - 1;
  auto page = page_of_locked(number);
  if (!page) return std::move(page).error();
  return (*page)->offsets[index - infos_[number].first_index];
}

Result<FilePlace> ManifestStore::locate(std::uint64_t at) const {
  const std::lock_guard lock(mutex_);
  PENSTOCK_CHECK(at < bytes_);
  // Entries without bytes share their offset with the next file, so the last one that begins at or before `at` is it.
  const auto after = std::upper_bound(infos_.begin(), infos_.end(), at,
                                      [](std::uint64_t x, const PageInfo& info) { return x < info.first_offset; });
  const auto number = static_cast<std::size_t>(after - infos_.begin()) - 1;
  auto page = page_of_locked(number);
  if (!page) return std::move(page).error();
  const auto& offsets = (*page)->offsets;
  const auto slot =
      static_cast<std::size_t>(std::upper_bound(offsets.begin(), offsets.end(), at) - offsets.begin()) - 1;
  const std::uint64_t inside = at - offsets[slot];
  return FilePlace{.index = infos_[number].first_index + slot,
                   .file_offset = inside,
                   .bytes_left = (*page)->entries[slot].size - inside};
}

}  // namespace penstock::storage
