#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/result.h"
#include "control/receipt/receipt.h"
#include "control/receipt/receipt_list.h"

namespace penstock::control {

/// The receipts of one end: `directory`/TRANSFER.receipt each, written whole or not at all, 0600.
/// Threads: one owner per object; several processes may share a directory.
class ReceiptStore {
 public:
  explicit ReceiptStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// Where receipts of a client home live.
  static ReceiptStore of_home(const std::filesystem::path& home) { return ReceiptStore{home / "receipts"}; }
  static ReceiptStore of_state(const std::filesystem::path& state) { return ReceiptStore{state / "receipts"}; }

  /// Durable when it returns the path.
  Result<std::filesystem::path> store(const Receipt& receipt) const;
  /// The same with the list from elsewhere. Requires: `receipt` has no lines, and its header is about `list`.
  Result<std::filesystem::path> store(const Receipt& receipt, const ReceiptList& list) const;
  /// The receipt of this transfer; `id` may be any beginning that only one has, else USAGE; none: NOT_FOUND.
  Result<std::filesystem::path> find(const std::string& id) const;
  struct Listed {
    std::filesystem::path file;
    ReceiptHeaderFields fields;
  };
  /// Oldest first. Files that are no receipts are left out.
  Result<std::vector<Listed>> list() const;

 private:
  std::filesystem::path directory_;
};

}  // namespace penstock::control
