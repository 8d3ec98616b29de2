#pragma once

#include <filesystem>
#include <string>

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
};

}  // namespace penstock::storage::test
