#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "common/digest/sha256.h"
#include "common/result.h"
#include "control/receipt/receipt.h"
#include "dataplane/storage/spill_file.h"

namespace penstock::control {

/// The list of a receipt in the making, whatever its length: its text goes to a spill file, and what the header says of
/// it is kept. Memory: 64 KiB. Threads: one owner.
class ReceiptList {
 public:
  /// `directory` is borrowed: for the spill file; -1: memory.
  explicit ReceiptList(int directory);

  /// Requires: lines ascend by path, each path once. IO_ERROR, NO_SPACE, QUOTA_EXCEEDED.
  [[nodiscard]] Status add(const ReceiptLine& line);
  /// After the last line, before text(); more may not follow.
  [[nodiscard]] Status finish();

  [[nodiscard]] std::uint64_t files() const { return files_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Of the list's canonical text. Requires: finish() was called.
  [[nodiscard]] const std::array<std::byte, 32>& sha256() const { return sha256_; }
  /// The line of a list that has only one.
  [[nodiscard]] const std::optional<ReceiptLine>& only() const { return only_; }

  /// The canonical text, piece by piece. Ends at the first error of `use`.
  using Use = std::function<Status(std::span<const std::byte>)>;
  [[nodiscard]] Status text(const Use& use) const;

 private:
  [[nodiscard]] Status flush();

  storage::SpillFile file_;
  std::vector<std::byte> buffer_;
  digest::Sha256Hasher hasher_;
  std::uint64_t files_ = 0;
  std::uint64_t bytes_ = 0;
  std::array<std::byte, 32> sha256_{};
  std::optional<ReceiptLine> only_;
};

}  // namespace penstock::control
