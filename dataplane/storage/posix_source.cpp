#include "dataplane/storage/posix_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <unordered_map>
#include <utility>

#include "common/bytes/wire_writer.h"
#include "common/check.h"
#include "common/digest/xxh3.h"
#include "common/escape.h"
#include "common/path/beneath.h"
#include "dataplane/storage/source_walk.h"

namespace penstock::storage {

namespace {

class PosixSourceFile final : public SourceFile {
 public:
  PosixSourceFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const auto got = ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return error_from_errno(errno, "read", path_);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }
  Result<FileIdentity> identity() override {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) return error_from_errno(errno, "examine", path_);
    return identity_of(status);
  }

 private:
  UniqueFd fd_;
  std::string path_;
};

}  // namespace

FileIdentity identity_of(const struct stat& status) {
  std::array<std::byte, 7 * 8> bytes;
  bytes::WireWriter out{bytes};
  out.u64(static_cast<std::uint64_t>(status.st_size));
  out.u64(static_cast<std::uint64_t>(status.st_mtim.tv_sec));
  out.u64(static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
  out.u64(static_cast<std::uint64_t>(status.st_ctim.tv_sec));
  out.u64(static_cast<std::uint64_t>(status.st_ctim.tv_nsec));
  out.u64(status.st_dev);
  out.u64(status.st_ino);
  return digest::xxh3(bytes).bytes;
}

/// Directories that files are opened from, least recently used first out.
class PosixSource::DirectoryCache {
 public:
  DirectoryCache(const SourceBase& base, std::size_t descriptors_max) : base_(base), max_(descriptors_max) {}

  Result<std::shared_ptr<OpenedSource>> open(std::uint32_t root, const path::SafePath& below_root) {
    const std::string key = std::to_string(root) + '/' + below_root.text();
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return recent_.front().second;
    }
    auto opened = base_.open_directory(root, below_root, path::DirectoryAccess::search);
    if (!opened) return std::move(opened).error();
    recent_.emplace_front(key, std::make_shared<OpenedSource>(std::move(*opened)));
    by_key_[key] = recent_.begin();
    if (recent_.size() > max_) {
      by_key_.erase(recent_.back().first);
      recent_.pop_back();
    }
    return recent_.front().second;
  }

 private:
  using Cached = std::pair<std::string, std::shared_ptr<OpenedSource>>;
  const SourceBase& base_;
  std::size_t max_;
  std::list<Cached> recent_;
  std::unordered_map<std::string, std::list<Cached>::iterator> by_key_;
};

struct PosixSource::Parts {
  Parts(std::vector<SourceRoot> roots, const PosixSourceConfig& config)
      : base(std::move(roots), config.links), walk(base, config), directories(base, config.directory_cache) {}
  SourceBase base;
  SourceWalk walk;
  DirectoryCache directories;
};

PosixSource::PosixSource(std::vector<SourceRoot> roots, const PosixSourceConfig& config)
    : parts_(std::make_unique<Parts>(std::move(roots), config)) {}
PosixSource::~PosixSource() = default;

Result<WalkBatch> PosixSource::walk(std::size_t entries_max) { return parts_->walk.next(entries_max); }

std::string PosixSource::shown_path(const ManifestEntry& entry) const {
  return parts_->base.display(entry.root, entry.path);
}

Result<std::unique_ptr<SourceFile>> PosixSource::open(const ManifestEntry& entry) {
  const std::string shown = shown_path(entry);
  const auto failed = [&](Error error) { return told_of(std::move(error), shown); };
  auto below = path::SafePath::parse_relative(entry.path);
  if (!below) return failed(std::move(below).error());
  Result<UniqueFd> opened = UniqueFd{};
  if (below->is_root()) {
    opened = parts_->base.open_root_file(entry.root);
  } else {
    auto directory = parts_->directories.open(entry.root, below->parent());
    if (!directory) return failed(std::move(directory).error());
    opened = parts_->base.open_file(entry.root, **directory, below->name());
  }
  if (!opened) return failed(std::move(opened).error());
  struct stat status {};
  if (::fstat(opened->get(), &status) != 0) return failed(error_from_errno(errno, "examine", shown));
  if (identity_of(status) != entry.identity) {
    return failed(
        Error{ErrorCode::SOURCE_CHANGED,
              escape_for_display(shown, 512) + " changed after it was listed; send it again when it is at rest"});
  }
  return std::unique_ptr<SourceFile>{std::make_unique<PosixSourceFile>(std::move(*opened), shown)};
}

Result<SourceRoot> open_local_root(const std::string& source) {
  if (source.empty() || source.find('\0') != std::string::npos) {
    return Error{ErrorCode::NOT_FOUND, "an empty source names nothing; write . for the current directory"};
  }
  SourceRoot root;
  root.display = source;
  std::string word = source;
  while (word.size() > 1 && word.back() == '/') word.pop_back();
  root.contents = word == "." || word.ends_with("/.");
  struct stat status {};
  if (::lstat(word.c_str(), &status) != 0) return error_from_errno(errno, "send", source);
  // A SRC that is itself a link is followed, anywhere: what it leads to is the root.
  char resolved[PATH_MAX];
  if (::realpath(word.c_str(), resolved) == nullptr) return error_from_errno(errno, "send", source);
  if (::stat(resolved, &status) != 0) return error_from_errno(errno, "send", source);
  if (root.contents && !S_ISDIR(status.st_mode)) return error_from_errno(ENOTDIR, "send the contents of", source);
  std::string real = resolved;
  std::string parent = real;
  if (S_ISDIR(status.st_mode)) {
    root.path = path::SafePath{};
  } else {
    const auto slash = real.rfind('/');
    parent = slash == 0 ? "/" : real.substr(0, slash);
    auto name = path::SafePath::parse_relative(real.substr(slash + 1));
    if (!name) return std::move(name).error();
    root.path = std::move(*name);
  }
  auto base = path::open_trusted_directory(parent, path::DirectoryAccess::search);
  if (!base) {
    Error error = std::move(base).error();
    error.path = source;
    return error;
  }
  root.base = std::move(*base);
  return root;
}

Result<std::vector<SourceRoot>> open_local_roots(const std::vector<std::string>& sources) {
  std::vector<SourceRoot> roots;
  std::optional<Error> first;
  std::size_t refused = 0;
  for (const auto& source : sources) {
    auto root = open_local_root(source);
    if (root) {
      roots.push_back(std::move(*root));
      continue;
    }
    if (root.error().code == ErrorCode::NOT_FOUND) return std::move(root).error();
    if (!first) first = root.error();
    ++refused;
    roots.emplace_back().display = source;
    roots.back().unusable = std::move(root).error();
  }
  if (first && refused == sources.size()) return *std::move(first);
  return roots;
}

}  // namespace penstock::storage
