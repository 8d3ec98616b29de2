#include "control/client/push_notes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <system_error>
#include <vector>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/gate/private_file.h"
#include "dataplane/storage/journal_store.h"

namespace penstock::control {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

bool older(const std::filesystem::path& path, int flags, std::int64_t since_ns) {
  struct stat found {};
  // A change within one tick of the clock can not be told from one before it.
  return ::fstatat(AT_FDCWD, path.c_str(), &found, flags) == 0 && nanoseconds(found.st_ctim) < since_ns;
}

}  // namespace

std::filesystem::path PushNotes::file_of(const storage::ResumeKey& key) const {
  return directory_ / bytes::to_hex(key);
}

std::optional<PushNotes::Note> PushNotes::find(const storage::ResumeKey& key) const {
  const auto file = file_of(key);
  struct stat found {};
  if (::lstat(file.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) return std::nullopt;
  std::ifstream in{file, std::ios::binary};
  std::string text(2 * storage::TransferId{}.size() + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.gcount() != static_cast<std::streamsize>(text.size()) || text.back() != '\n') return std::nullopt;
  text.pop_back();
  Note note;
  if (!bytes::from_hex(text, note.transfer)) return std::nullopt;
  note.written_ns = nanoseconds(found.st_mtim);
  return note;
}

Status PushNotes::write(const storage::ResumeKey& key, const storage::TransferId& transfer) const {
  std::error_code failed;
  std::filesystem::create_directories(directory_, failed);
  if (failed) return error_from_errno(failed.value(), "create", directory_.string());
  forget_old();
  const std::string text = bytes::to_hex(transfer) + "\n";
  return write_private_file(file_of(key), bytes::as_bytes(text), Existing::replace);
}

void PushNotes::remove(const storage::ResumeKey& key) const {
  std::error_code ignored;
  std::filesystem::remove(file_of(key), ignored);
}

void PushNotes::forget_old() const {
  constexpr auto ttl = std::chrono::duration_cast<std::chrono::nanoseconds>(storage::partial_ttl_default);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::error_code failed;
  std::vector<std::filesystem::path> gone;
  for (auto at = std::filesystem::directory_iterator{directory_, failed};
       !failed && at != std::filesystem::directory_iterator{}; at.increment(failed)) {
    struct stat found {};
    if (::lstat(at->path().c_str(), &found) == 0 && nanoseconds(found.st_mtim) < nanoseconds(now) - ttl.count())
      gone.push_back(at->path());
  }
  for (const auto& file : gone) std::filesystem::remove(file, failed);
}

bool unchanged_since(std::span<const std::string> sources, std::int64_t since_ns) {
  for (const auto& source : sources) {
    if (!older(source, 0, since_ns)) return false;
    std::error_code failed;
    if (!std::filesystem::is_directory(source, failed)) {
      if (failed) return false;
      continue;
    }
    auto at = std::filesystem::recursive_directory_iterator{source, failed};
    for (; !failed && at != std::filesystem::recursive_directory_iterator{}; at.increment(failed))
      if (!older(at->path(), AT_SYMLINK_NOFOLLOW, since_ns)) return false;
    if (failed) return false;  // what can not be read was left out then, too; let the daemon judge
  }
  return true;
}

}  // namespace penstock::control
