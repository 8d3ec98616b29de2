#pragma once

#include <filesystem>
#include <string>

#include "common/path/safe_path.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {

/// An empty source and an empty target in a scratch directory, and plans that push from one to the other.
struct TransferFixture {
  ScratchDirectory scratch;
  std::string source = scratch / "source";
  std::string target = scratch / "target";
  TransferFixture() {
    std::filesystem::create_directory(source);
    std::filesystem::create_directory(target);
  }
  [[nodiscard]] Plan plan(const std::string& what, const std::string& where) const {
    Plan plan;
    plan.sources = {what};
    plan.destination = where;
    plan.journal_directory = scratch / "journals";
    plan.identity.base = std::string{"/"};
    return plan;
  }
  [[nodiscard]] bool has_partials() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(target)) {
      if (path::is_partial_name(entry.path().filename().string())) return true;
    }
    return false;
  }
};

/// Of an entry that failed; INTERNAL where none did.
inline ErrorCode entry_error(const Outcome& outcome) {
  return outcome.entry_errors.empty() ? ErrorCode::INTERNAL : outcome.entry_errors.begin()->second.code;
}

}  // namespace penstock::storage::test
