#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/sink_window.h"
#include "tests/sim/event_queue.h"

namespace penstock::sim {

enum class WhenQuiet : std::uint8_t {
  keeps_slabs,  // partly filled slabs stay open
  hands_on,     // they are written as they are, and what follows needs a new one: credit given for the rest is void
};

struct SinkOptions {
  Duration latency{0};        // of writing a slab
  std::size_t slabs_max = 8;  // lent and being written together
  WhenQuiet quiet = WhenQuiet::keeps_slabs;
};

/// What the engine did to the sink that its contract forbids. All zero, always.
struct SinkViolations {
  std::uint64_t lent_over_accepted = 0;   // asked for memory that holds accepted bytes
  std::uint64_t accepted_twice = 0;       // committed or stored bytes that were here already
  std::uint64_t committed_elsewhere = 0;  // committed what it had not borrowed
  std::uint64_t wrong_bytes = 0;          // authentic bytes that are not the source's
  bool operator==(const SinkViolations&) const = default;
};

/// A sink in memory that behaves like one on disk: few slabs, each free again some time after it is full. Without a
/// free slab the oldest open one is written as it is, so that shuffled chunks cannot lock it up.
class MemorySink final : public engine::SinkWindow {
 public:
  /// `on_written` runs when a slab is free again. Borrowed for life: `events`, `truth`.
  MemorySink(EventQueue& events, std::span<const std::byte> truth, const SinkOptions& options,
             std::function<void()> on_written);

  std::span<std::byte> lend(TransferOffset at, std::size_t length) override;
  void commit(TransferOffset at, std::size_t length) override;
  [[nodiscard]] bool store(TransferOffset at, std::span<const std::byte> bytes) override;
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void retain(std::uint64_t bytes) override;
  [[nodiscard]] std::uint64_t room() const override;
  void on_quiet() override;
  /// Writes what is left in open slabs: the transfer, or a round of it, is complete.
  void flush();

  /// The manifest describes transfer space below `end`: only there is a file to write to.
  void expect(TransferOffset end) { expected_ = end; }
  /// An earlier run left these bytes here.
  void preload(TransferRange range);
  /// The disk lost them: they count as missing and read as rubbish.
  void damage(TransferRange range);

  /// Nothing waits in a slab.
  [[nodiscard]] bool is_written() const { return slabs_.empty(); }
  [[nodiscard]] std::span<const std::byte> content() const { return content_; }
  [[nodiscard]] std::uint64_t bytes_accepted() const { return bytes_accepted_; }
  [[nodiscard]] std::uint64_t stores_refused() const { return stores_refused_; }
  [[nodiscard]] const SinkViolations& violations() const { return violations_; }

 private:
  struct Slab {
    std::uint64_t base = 0;
    std::vector<std::byte> memory;
    bytes::IntervalSet filled;
    bool writing = false;
  };

  Slab* open_slab_at(std::uint64_t at);
  Slab* try_open_slab(std::uint64_t at);
  void accept(Slab& slab, TransferOffset at, std::size_t length);
  void write(Slab& slab);
  void finish_writing(const Slab* slab);
  void drop_retained();

  EventQueue& events_;
  std::span<const std::byte> truth_;
  SinkOptions options_;
  std::function<void()> on_written_;
  std::vector<std::unique_ptr<Slab>> slabs_;     // oldest first
  std::vector<std::unique_ptr<Slab>> retained_;  // written, and still in memory; oldest first
  std::uint64_t retain_bytes_ = 0;
  std::vector<std::byte> content_;
  bytes::IntervalSet have_;  // accepted or preloaded, in a slab or in content_
  TransferOffset expected_{};
  TransferRange lent_{};
  std::uint64_t bytes_accepted_ = 0;
  std::uint64_t stores_refused_ = 0;
  SinkViolations violations_;
};

}  // namespace penstock::sim
