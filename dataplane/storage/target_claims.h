#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

namespace penstock::storage {

/// One live writer per target, over all transfers of a process: who is writing which name of which directory.
/// Memory: one entry for each partial that exists. Threads: any.
class TargetClaims {
 public:
  struct Target {
    std::uint64_t device = 0;  // of the directory
    std::uint64_t inode = 0;
    std::string name;
    auto operator<=>(const Target&) const = default;
  };
  using Writer = const void*;  // compared, never followed

  /// False: another writer has it (TRANSFER_ACTIVE).
  [[nodiscard]] bool claim(const Target& target, Writer writer);
  void release(const Target& target, Writer writer);
  /// All of one writer's.
  void release_all(Writer writer);

 private:
  std::mutex mutex_;
  std::map<Target, Writer> claims_;
};

}  // namespace penstock::storage
