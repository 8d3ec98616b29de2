#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/units.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/storage/slab_pool.h"

namespace penstock::storage {

/// A slab on its way from the worker to the writing strand.
struct FilledSlab {
  TransferOffset base;                // a multiple of slab_bytes; memory of byte x of transfer space is at x - base
  std::shared_ptr<const Slab> slab;   // the worker may still fill other parts of it
  std::vector<bytes::Interval> runs;  // transfer space, ascending: the bytes that are there, and final
};

// Tuning: fewer, and bytes are refused after a pause; more, and idle transfers keep slabs from busy ones. It is below
// what every account is guaranteed.
inline constexpr std::size_t slabs_kept_when_quiet = 2;

/// Tuning: so many slabs that could be taken are left when slabs are retained, for what comes next. With siblings, as
/// many for each of them as are retained: what a lane retains it takes from its own part.
inline constexpr std::size_t retained_slabs_spared = 2;

/// The worker's half of a sink: slabs open for writing, by place in transfer space.
/// A slab is handed on when all bytes that can still come for it have come, or when it must make room (the one touched
/// longest ago goes first). At most half of what the account may hold stays open partly filled.
/// on_quiet hands on what has arrived; the slabs_kept_when_quiet touched last stay open for the rest, since credit was
/// granted for it: a lane that is merely paused must not find its room gone. Where several windows share the account,
/// none stays open.
/// Slabs that were handed on may be retained, so that repair symbols find what they are about (engine/fec). They count
/// as room, and are let go as soon as this window needs them, or the account has more than its part of the pool
/// (SlabAccount::part): other transfers' windows stay as wide as if there were no repair. The same is so of what
/// on_quiet leaves open for repair. When others come and the parts shrink, it is let go with the next slab or pause.
/// Threads: the lane's worker.
class SlabSinkWindow final : public engine::SinkWindow {
 public:
  using HandOver = std::function<void(FilledSlab)>;

  /// `on_quiet_lane` is told of on_quiet, after the slabs were handed on. `lanes`: so many windows share the account,
  /// and each counts on an equal part of it.
  SlabSinkWindow(SlabAccount& slabs, HandOver hand_over, std::function<void()> on_quiet_lane = {},
                 std::size_t lanes = 1);

  [[nodiscard]] std::span<std::byte> lend(TransferOffset at, std::size_t length) override;
  void commit(TransferOffset at, std::size_t length) override;
  [[nodiscard]] bool store(TransferOffset at, std::span<const std::byte> bytes) override;
  [[nodiscard]] std::uint64_t room() const override;
  void on_quiet() override;
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void retain(std::uint64_t bytes) override;

  /// Hands every open slab on.
  void flush();
  /// The same for slabs of these bytes, which will not come here any more; nor is any of them retained.
  void hand_on_within(TransferRange range);
  /// Drops every open slab, with what is in it.
  void discard() {
    open_.clear();
    retained_.clear();
  }
  /// These bytes will not come: slabs need not wait for them. Ranges may be forgotten again (repair: expect_again).
  void withhold(TransferRange range);
  void expect_again(TransferRange range);
  /// Transfer space ends here.
  void finish(TransferOffset end);
  [[nodiscard]] std::size_t open_slabs() const { return open_.size(); }

 private:
  struct Open {
    std::shared_ptr<Slab> slab;
    bytes::IntervalSet received;
    bytes::IntervalSet handed;  // of `received`: on its way to the file already
    std::uint64_t touched = 0;  // value of turn_ at the last commit
  };
  /// A slab that was handed on, and what of it came here. Its writer may hold it as well.
  struct Retained {
    std::uint64_t number = 0;
    std::shared_ptr<const Slab> slab;
    bytes::IntervalSet received;
  };
  using OpenSlabs = std::map<std::uint64_t, Open>;  // by slab number
  void note(OpenSlabs::iterator which, TransferOffset at, std::size_t length);
  [[nodiscard]] bool complete(std::uint64_t number, const Open& open) const;
  void hand_on(OpenSlabs::iterator which);
  void hand_new_runs(OpenSlabs::iterator which);
  void evict_one();
  void drop_retained(std::size_t slabs_kept);
  void trim_retained();
  [[nodiscard]] std::size_t spared() const;

  SlabAccount& slabs_;
  HandOver hand_over_;
  std::function<void()> on_quiet_lane_;
  std::size_t lanes_;
  OpenSlabs open_;
  std::deque<Retained> retained_;  // oldest first
  std::size_t retained_max_ = 0;   // slabs
  bytes::IntervalSet withheld_;
  std::optional<TransferOffset> end_;
  std::uint64_t turn_ = 0;
};

}  // namespace penstock::storage
