#include "dataplane/storage/state_space.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "common/escape.h"

namespace penstock::storage {

namespace {

/// The name by which an operator knows a directory that we hold by descriptor.
std::string name_of(int directory) {
  std::array<char, 4096> name{};
  const auto size = ::readlink(("/proc/self/fd/" + std::to_string(directory)).c_str(), name.data(), name.size());
  return size > 0 ? std::string{name.data(), static_cast<std::size_t>(size)} : std::string{"the state directory"};
}

}  // namespace

Status StateSpace::allow(std::uint64_t size) {
  if (size > bytes_max_) {
    std::string where = directory_ < 0 ? std::string{"memory"} : name_of(directory_);
    return Error{ErrorCode::QUOTA_EXCEEDED,
                 "this transfer's " + what_ + " would take more than " + std::to_string(bytes_max_ / MiB) + " MiB of " +
                     escape_for_display(where, 512) + "; transfer the tree in parts",
                 std::move(where)};
  }
  if (directory_ < 0 || size <= checked_ + state_check_step) return {};
  const auto space = calls_->space_of(directory_);
  if (space) {
    const std::uint64_t reserve = std::min(state_reserve_bytes, space->total_bytes / state_reserve_divisor);
    const std::uint64_t wanted = size - checked_;
    if (space->free_bytes < reserve || space->free_bytes - reserve < wanted) {
      std::string where = name_of(directory_);
      return Error{ErrorCode::NO_SPACE,
                   "there is too little space in " + escape_for_display(where, 512) + " for this transfer's " + what_ +
                       "; make room there, then run the same command again",
                   std::move(where)};
    }
  }
  checked_ = size;
  return {};
}

}  // namespace penstock::storage
