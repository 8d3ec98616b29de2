#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "dataplane/engine/sink_window.h"
#include "dataplane/engine/source_window.h"

namespace penstock::engine {

// A lane without files: what measures the path alone. On the wire it is a transfer like any other, sealed and
// acknowledged. They stand here, not behind storage's Sink, because nothing of a transfer but the lane is wanted: no
// manifest, no journal, no verdicts; neither end touches a disk, so nobody needs a grant.
// What may be sent is bounded by what the receiver was told to expect.

/// Zeros, wherever one looks. Bound: 64 KiB. Threads: the lane's worker.
class BlankSource final : public SourceWindow {
 public:
  BlankSource() : zeros_(64 * KiB) {}
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset, std::size_t length_max) override {
    return std::span{zeros_}.first(std::min(length_max, zeros_.size()));
  }
  void prefetch(TransferRange) override {}
  void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

 private:
  std::vector<std::byte> zeros_;
};

/// Takes everything, keeps nothing: authentic bytes are written over each other. Bound: 256 KiB. Threads: the lane's
/// worker.
class DiscardSink final : public SinkWindow {
 public:
  DiscardSink() : rubbish_(256 * KiB) {}
  [[nodiscard]] std::span<std::byte> lend(TransferOffset, std::size_t length) override {
    return length <= rubbish_.size() ? std::span{rubbish_}.first(length) : std::span<std::byte>{};
  }
  void commit(TransferOffset, std::size_t) override {}
  [[nodiscard]] bool store(TransferOffset, std::span<const std::byte>) override { return true; }
  [[nodiscard]] std::uint64_t room() const override { return std::numeric_limits<std::uint32_t>::max(); }
  void on_quiet() override {}

 private:
  std::vector<std::byte> rubbish_;
};

}  // namespace penstock::engine
