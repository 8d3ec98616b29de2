#include "dataplane/storage/target_judge.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/digest/xxh3.h"
#include "common/escape.h"
#include "common/path/beneath.h"
#include "dataplane/storage/file_operations.h"

namespace penstock::storage {

namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;

Judgement refuse(Error error, const path::SafePath& target) {
  // Told by whole paths: of a directory on the way to the target, or else of the target itself.
  const std::string asked = target.absolute_text();
  const std::string above = "/" + error.path;
  const bool on_the_way = !error.path.empty() && asked.starts_with(above + "/");
  error = told_of(std::move(error), on_the_way ? above : asked);
  error.path = asked;
  Judgement judgement;
  judgement.action = Action::refuse;
  judgement.error = std::move(error);
  return judgement;
}

Error conflict(const path::SafePath& target, std::string_view there, std::string_view wanted) {
  return Error{ErrorCode::TYPE_CONFLICT, escape_for_display(target.absolute_text(), 512) + " is " + std::string{there} +
                                             ", where " + std::string{wanted} +
                                             " must go; remove it, or choose another target"};
}

/// Whether an earlier run of this transfer put it there, and nobody has written to it since.
bool is_as_published(const Published& published, const struct stat& status) {
  if (published.device != status.st_dev || published.inode != status.st_ino) return false;
  // Inodes are used again, and files are written to in place: size and time must still be what we left.
  if (!S_ISREG(status.st_mode)) return true;
  return static_cast<std::uint64_t>(status.st_size) == published.size &&
         same_mtime(mtime_ns_of(status), published.mtime_ns);
}

bool ours(const JournalFile* file, const struct stat& status) {
  return file != nullptr && file->published && is_as_published(*file->published, status);
}

/// Whether it is ours, but an earlier run was about to replace it.
bool ours_of_old(const JournalFile* file, const struct stat& status) {
  return file != nullptr && std::ranges::any_of(file->published_before, [&](const Published& published) {
           return is_as_published(published, status);
         });
}

bool beneath(const std::string& directory, const std::string& path) {
  if (directory.empty()) return !path.empty();
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

/// nullopt: nothing there. For a new tree that is each name's case, so it costs no Error with its sentence.
Result<std::optional<struct stat>> look_in(const TargetDirectory& directory, const path::Component& name) {
  struct stat status {};
  if (::fstatat(directory.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return std::optional{status};
  if (errno == ENOENT) return std::optional<struct stat>{};
  return error_from_errno(errno, "examine", name.text());
}

/// Whether a directory that an earlier run meant to make holds nothing yet.
bool empty_directory(const HeldDirectory& directory) {
  const int fd = ::openat(directory->fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = fd < 0 ? nullptr : ::fdopendir(fd);
  if (stream == nullptr) {
    if (fd >= 0) ::close(fd);
    return false;
  }
  std::size_t names = 0;
  while (names <= 2 && ::readdir(stream) != nullptr) ++names;
  ::closedir(stream);
  return names <= 2;  // itself and its parent
}

}  // namespace

std::int64_t mtime_ns_of(const struct stat& status) {
  return status.st_mtim.tv_sec * ns_per_s + status.st_mtim.tv_nsec;
}

bool same_mtime(std::int64_t a_ns, std::int64_t b_ns) {
  if (a_ns == b_ns) return true;
  for (const std::int64_t unit : {std::int64_t{1'000}, ns_per_s}) {
    const bool coarse = a_ns % unit == 0 || b_ns % unit == 0;
    const auto floor = [unit](std::int64_t ns) { return ns / unit - (ns % unit < 0 ? 1 : 0); };
    if (coarse && floor(a_ns) == floor(b_ns)) return true;
  }
  return false;
}

FileIdentity link_identity(const std::string& link_target) { return digest::xxh3(bytes::as_bytes(link_target)).bytes; }

timespec timespec_of(std::int64_t ns) {
  const std::int64_t rest = (ns % ns_per_s + ns_per_s) % ns_per_s;
  return timespec{.tv_sec = (ns - rest) / ns_per_s, .tv_nsec = rest};
}

TargetJudge::TargetJudge(const PosixSinkConfig& config, TargetTree& tree, Journal* journal)
    : config_(config), tree_(tree), journal_(journal), landings_(config.roots.size()) {}

path::SafePath TargetJudge::target_of(const ManifestEntry& entry) const {
  const auto& landing = landings_[entry.root];
  PENSTOCK_CHECK(landing.has_value());
  auto below = path::SafePath::parse_relative(entry.path);
  PENSTOCK_CHECK(below.ok());  // the validator took every component
  return landing->joined(*below);
}

auto TargetJudge::earlier_of(const path::SafePath& target) const -> Result<Earlier> {
  if (journal_ == nullptr) return Earlier{};
  auto found = journal_->earlier().find(target.text());
  if (!found) return std::move(found).error();
  return *found ? std::make_shared<const JournalFile>(std::move(**found)) : Earlier{};
}

Result<std::optional<struct stat>> TargetJudge::look(const path::SafePath& target) {
  struct stat status {};
  if (target.is_root()) {
    if (::fstat(tree_.base(), &status) != 0) return error_from_errno(errno, "examine", target.text());
    return std::optional{status};
  }
  const auto parent = tree_.open(target.parent());
  if (!parent && parent.error().code == ErrorCode::NOT_FOUND) return std::optional<struct stat>{};
  if (!parent) return parent.error();
  return look_in(**parent, target.name());
}

Judgement TargetJudge::judge(const ManifestEntry& entry) {
  if (refused_) {
    if (refused_->root == entry.root && beneath(refused_->path, entry.path)) {
      Judgement judgement;
      judgement.action = Action::refuse;
      judgement.error = Error{ErrorCode::PATH_REFUSED, "the directory above it was refused", entry.path};
      return judgement;
    }
    refused_.reset();
  }
  if (entry.path.empty()) {
    auto landing = landing_of(entry);
    if (!landing) {
      refused_ = RefusedDirectory{.root = entry.root, .path = {}};
      return refuse(std::move(landing).error(), config_.destination.path);
    }
    landings_[entry.root] = std::move(*landing);
  }
  const path::SafePath target = target_of(entry);
  while (!made_.empty() && !beneath(made_.back(), target.text())) made_.pop_back();
  auto earlier = earlier_of(target);
  Judgement judgement = !earlier                            ? refuse(std::move(earlier).error(), target)
                        : entry.type == FileType::directory ? judge_directory(entry, target, *earlier)
                                                            : judge_leaf(entry, target, std::move(*earlier));
  if (judgement.action == Action::refuse && entry.type == FileType::directory) {
    refused_ = RefusedDirectory{.root = entry.root, .path = entry.path};
  }
  return judgement;
}

Result<path::SafePath> TargetJudge::landing_of(const ManifestEntry& root_entry) {
  const auto& destination = config_.destination;
  const auto& root = config_.roots[root_entry.root];
  const auto inside = [&]() -> Result<path::SafePath> {
    auto name = path::Component::parse(root.name);
    if (!name) return std::move(name).error();
    return destination.path.child(*name);
  };
  if (root.contents) {
    if (root_entry.type == FileType::directory) return destination.path;
    return Error{ErrorCode::NOT_A_DIRECTORY, "only a directory has contents to transfer; leave the final /. out"};
  }
  path::SafePath landing = destination.path;
  if (destination.is_container) {
    auto named = inside();
    if (!named) return named;
    landing = std::move(*named);
  } else if (root_entry.type != FileType::directory) {
    // A single file goes into a directory that exists, as with cp.
    auto there = look(destination.path);
    if (!there) return std::move(there).error();
    if (*there && S_ISDIR((*there)->st_mode)) {
      auto named = inside();
      if (!named) return named;
      landing = std::move(*named);
    }
  }
  // Missing parents of DEST are created; they are not this transfer's to give a mode.
  if (!landing.is_root() && !config_.dry_run) {
    auto parent = tree_.make(landing.parent(), TargetTree::parent_mode);
    if (!parent && parent.error().code == ErrorCode::NOT_A_DIRECTORY)
      return not_a_directory(tree_.base(), landing.parent());
    if (!parent) return std::move(parent).error();
  }
  return landing;
}

Judgement TargetJudge::judge_directory(const ManifestEntry& entry, const path::SafePath& target,
                                       const Earlier& earlier) {
  auto there = look(target);
  if (!there) return refuse(std::move(there).error(), target);
  Judgement judgement;
  const auto& root = config_.roots[entry.root];
  const bool names_destination = entry.path.empty() && !root.contents && !config_.destination.is_container;
  if (*there) {
    const auto& status = **there;
    if (S_ISLNK(status.st_mode)) return refuse(conflict(target, "a symbolic link", "a directory"), target);
    if (!S_ISDIR(status.st_mode)) return refuse(conflict(target, "a file", "a directory"), target);
    const bool mine = ours(earlier.get(), status);
    if (names_destination && config_.overwrite == Overwrite::never && !mine) {
      const bool intended = earlier != nullptr && !earlier->intended.empty() && !earlier->published;
      const auto directory = tree_.open(target);
      if (!intended || !directory || !empty_directory(*directory)) {
        return refuse(Error{ErrorCode::FILE_EXISTS,
                            "the directory " + escape_for_display(target.absolute_text(), 512) +
                                " exists; end the target in / to put the source inside it, or merge with --overwrite"},
                      target);
      }
    }
    // A resume gives mode and time to the directories that the transfer made, not to those that it found.
    judgement.new_directory = mine;
    if (!mine && journal_ != nullptr && journal_->earlier().records() > 1 && status.st_uid == ::geteuid() &&
        (status.st_mode & 07777U) == 0700) {
      // Killed between making it and saying so, the earlier run had put nothing into it yet.
      const auto directory = tree_.open(target);
      judgement.new_directory = directory.ok() && empty_directory(*directory);
    }
    return judgement;
  }
  judgement.new_directory = true;
  if (config_.dry_run) return judgement;
  // That the directory is ours must be known to the next run, or it would seem to exist.
  if (names_destination && journal_ != nullptr) {
    journal_->append(PartialIntended{.path = target.text(), .partial_name = {}});
    if (auto written = journal_->write(); !written) return refuse(std::move(written).error(), target);
  }
  auto made = tree_.make(target);
  if (!made) return refuse(std::move(made).error(), target);
  made_.push_back(target.text());
  if (journal_ != nullptr) {
    journal_->append(Published{.path = target.text(),
                               .source = {},
                               .size = 0,
                               .device = (*made)->device,
                               .inode = (*made)->inode,
                               .mtime_ns = 0,
                               .digest = digest::Xxh3{}});
  }
  if (names_destination && journal_ != nullptr) {  // the others are written with the batch of entries
    if (auto written = journal_->write(); !written) return refuse(std::move(written).error(), target);
  }
  return judgement;
}

Judgement TargetJudge::judge_leaf(const ManifestEntry& entry, const path::SafePath& target, Earlier earlier) {
  if (target.is_root()) {
    return refuse(Error{ErrorCode::IS_A_DIRECTORY, "the target is a directory, and the source is none"}, target);
  }
  auto parent = tree_.open(target.parent());
  Judgement judgement;
  judgement.earlier = std::move(earlier);
  if (!parent) {
    // A dry run has made no directory.
    if (config_.dry_run && parent.error().code == ErrorCode::NOT_FOUND) return judgement;
    return refuse(std::move(parent).error(), target);
  }
  // What somebody puts there in spite of that is met by the rename, with the same error under `never`.
  if (config_.overwrite == Overwrite::never && !made_.empty() && target.parent().text() == made_.back())
    return judgement;
  const auto there = look_in(**parent, target.name());
  if (!there) return refuse(there.error(), target);
  if (!*there) return judgement;
  return judge_existing(entry, target, **there, (*parent)->fd.get(), std::move(judgement));
}

Judgement TargetJudge::judge_existing(const ManifestEntry& entry, const path::SafePath& target,
                                      const struct stat& status, int directory, Judgement judgement) {
  if (S_ISDIR(status.st_mode)) {
    return refuse(conflict(target, "a directory", entry.type == FileType::symlink ? "a link" : "a file"), target);
  }
  if (ours(judgement.earlier.get(), status)) {
    const auto& published = *judgement.earlier->published;
    const auto source = entry.type == FileType::symlink ? link_identity(entry.link_target) : entry.identity;
    bool same = published.source == source && published.size == entry.size;
    if (entry.type == FileType::symlink) {
      const auto link = path::read_link_at(directory, target.name());
      same = same && link && *link == entry.link_target;
    } else {
      same = same && S_ISREG(status.st_mode) && published.digest.algorithm() == config_.algorithm;
    }
    if (same && !config_.anew) judgement.action = Action::done_before;
    judgement.replaces = true;  // an older version of the source that we completed ourselves is not "existing"
    return judgement;
  }
  if (ours_of_old(judgement.earlier.get(), status)) {
    judgement.replaces = true;
    return judgement;
  }
  switch (config_.overwrite) {
    case Overwrite::never:
      return refuse(Error{ErrorCode::FILE_EXISTS, escape_for_display(target.absolute_text(), 512) +
                                                      " exists; remove it, choose another target, or allow it "
                                                      "with --overwrite"},
                    target);
    case Overwrite::skip:
      judgement.action = Action::skip;
      return judgement;
    case Overwrite::always:
      break;
    case Overwrite::changed:
      if (entry.type == FileType::symlink) {
        if (!S_ISLNK(status.st_mode)) break;
        const auto link = path::read_link_at(directory, target.name());
        if (!link || *link != entry.link_target) break;
        judgement.action = Action::skip;
        correct_mtime(entry, target, status, directory, judgement);
        return judgement;
      }
      if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != entry.size ||
          !same_mtime(mtime_ns_of(status), entry.mtime_ns)) {
        break;
      }
      judgement.action = (status.st_mode & 0777U) == (entry.mode & 0777U) ? Action::skip : Action::meta_only;
      if (judgement.action == Action::meta_only && !config_.dry_run) {
        auto file = path::open_source_at(directory, target.name());
        if (!file) return refuse(std::move(file).error(), target);
        if (::fchmod(file->get(), entry.mode & 0777U) != 0) {
          return refuse(error_from_errno(errno, "set the mode of", target.absolute_text()), target);
        }
      }
      correct_mtime(entry, target, status, directory, judgement);
      return judgement;
  }
  judgement.replaces = judgement.action == Action::send;
  return judgement;
}

void TargetJudge::correct_mtime(const ManifestEntry& entry, const path::SafePath& target, const struct stat& status,
                                int directory, Judgement& judgement) const {
  if (mtime_ns_of(status) == entry.mtime_ns) return;
  judgement.action = Action::meta_only;
  if (config_.dry_run) return;
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, timespec_of(entry.mtime_ns)};
  // A time that this file system can not keep, or that belongs to another user's file, is no reason to end a transfer
  // in which nothing else differs.
  (void)::utimensat(directory, target.name().c_str(), times, AT_SYMLINK_NOFOLLOW);
}

}  // namespace penstock::storage
