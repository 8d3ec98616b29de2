#include "dataplane/storage/manifest_validator.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/escape.h"
#include "common/path/safe_path.h"
#include "common/units.h"

namespace penstock::storage {

namespace {

Error refused(const ManifestEntry& entry, std::string_view why) {
  std::string message = "the manifest is refused: ";
  message += entry.path.empty() ? "its root" : escape_for_display(entry.path, 512);
  message += ' ';
  message += why;
  return Error{ErrorCode::PATH_REFUSED, std::move(message), entry.path};
}

Status check_fields(const ManifestEntry& entry) {
  if (entry.type != FileType::regular && (entry.size != 0 || !entry.holes.empty())) {
    return refused(entry, "has a size, but is no file");
  }
  switch (entry.type) {
    case FileType::regular:
    case FileType::directory:
      if (!entry.link_target.empty()) return refused(entry, "has a link target, but is no link");
      break;
    case FileType::symlink:
      if (entry.link_target.empty() || entry.link_target.size() > link_target_size_max ||
          entry.link_target.find('\0') != std::string::npos) {
        return refused(entry, "is a link whose target is empty, too long or has a NUL");
      }
      break;
    default:
      return refused(entry, "is neither file, directory nor link");
  }
  if (entry.size > transfer_space_max) return refused(entry, "is larger than 2^48 - 1 bytes");
  if (entry.holes.size() > holes_max) return refused(entry, "has too many holes");
  std::uint64_t filled = 0;
  for (const auto& hole : entry.holes) {
    if (hole.length == 0 || hole.offset < filled || hole.offset > entry.size ||
        hole.length > entry.size - hole.offset) {
      return refused(entry, "has holes that are out of order or outside the file");
    }
    filled = hole.offset + hole.length;
  }
  return {};
}

}  // namespace

ManifestValidator::ManifestValidator(std::uint32_t roots) : roots_(roots) {}

Status ManifestValidator::accept(const ManifestEntry& entry) {
  if (entries_ >= manifest_entries_max) {
    return Error{ErrorCode::QUOTA_EXCEEDED, "the manifest is refused: one transfer has at most " +
                                                std::to_string(manifest_entries_max) +
                                                " entries; transfer the tree in parts"};
  }
  if (entry.path.size() > manifest_path_size_max) {
    return Error{ErrorCode::NAME_TOO_LONG, "the manifest is refused: a path in it is too long", entry.path};
  }
  if (auto status = check_fields(entry); !status) return status;
  if (auto status = check_place(entry); !status) return status;
  if (entry.size > transfer_space_max - bytes_) return refused(entry, "makes the transfer larger than 2^48 - 1 bytes");

  if (entry.path.empty()) {
    ++roots_seen_;
    open_directories_.clear();
  } else {
    const auto slash = entry.path.rfind('/');
    const std::size_t parent = slash == std::string::npos ? 0 : slash;
    while (!open_directories_.empty() && open_directories_.back() > parent) open_directories_.pop_back();
  }
  if (entry.type == FileType::directory) open_directories_.push_back(entry.path.size());
  root_ = entry.root;
  last_path_ = entry.path;
  bytes_ += entry.size;
  ++entries_;
  return {};
}

Status ManifestValidator::check_place(const ManifestEntry& entry) const {
  if (entry.path.empty()) {
    const bool ascends = entries_ == 0 || entry.root > root_;
    if (!ascends || entry.root >= roots_) return refused(entry, "is not a later one of the command");
    return {};
  }
  if (entries_ == 0 || entry.root != root_) return refused(entry, "comes before its root");
  const auto slash = entry.path.rfind('/');
  if (slash == 0) return refused(entry, "begins with a slash");  // its parent would pass for the root
  const std::size_t parent = slash == std::string::npos ? 0 : slash;
  const std::string_view name = std::string_view{entry.path}.substr(slash == std::string::npos ? 0 : slash + 1);
  if (auto component = path::Component::parse(name); !component) {
    Error error = std::move(component).error();
    error.path = entry.path;
    return error;
  }
  // The parent was accepted as a directory, and is one of those that the last entry lies in.
  const bool parent_open = std::binary_search(open_directories_.begin(), open_directories_.end(), parent);
  if (!parent_open || last_path_.compare(0, parent, entry.path, 0, parent) != 0) {
    return refused(entry, "is not beneath a directory that came before it");
  }
  if (!last_path_.empty() && path::compare_paths(last_path_, entry.path) >= 0) {
    return refused(entry, "is out of order, or comes twice");
  }
  return {};
}

Status ManifestValidator::finish(std::uint64_t entries, std::uint64_t bytes) const {
  if (entries != entries_ || bytes != bytes_) {
    return Error{ErrorCode::PATH_REFUSED, "the manifest is refused: its end does not agree with its entries"};
  }
  if (entries_ == 0 || (roots_seen_ != roots_ && !roots_may_miss_)) {
    return Error{ErrorCode::PATH_REFUSED, "the manifest is refused: it leaves out something that was asked for"};
  }
  return {};
}

}  // namespace penstock::storage
