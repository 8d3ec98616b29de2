#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>

#include "dataplane/storage/block.h"
#include "dataplane/storage/verdict.h"

namespace penstock::control {

/// Counts what the sink had already when this session began, out of entries and verdicts: at either end. Bound: eight
/// bytes for each entry that is listed and not decided. Threads: its side's.
class HeldBytes {
 public:
  /// The next entry of the manifest.
  void on_listed(std::uint64_t size) { sizes_.push_back(size); }
  /// Every entry up to `decided` is decided; `exceptions` ascend and lie between the last such call and this one.
  void on_decided(std::uint64_t decided, std::span<const storage::Verdict> exceptions) {
    auto exception = exceptions.begin();
    for (; decided_ < decided && !sizes_.empty(); ++decided_, sizes_.pop_front()) {
      if (exception == exceptions.end() || exception->index != decided_) continue;
      if (exception->action == storage::Action::done_before) bytes_ += sizes_.front();
      for (const auto& run : exception->held)
        if (run.first <= sizes_.front() / storage::block_size)
          bytes_ += std::min(sizes_.front() - run.first * storage::block_size, run.count * storage::block_size);
      ++exception;
    }
  }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::deque<std::uint64_t> sizes_;  // from `decided_` on
  std::uint64_t decided_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace penstock::control
