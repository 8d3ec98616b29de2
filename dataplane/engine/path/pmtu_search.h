#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// Finds the largest datagram that a path carries, and notices when it carries less. Sizes are UDP payload.
/// base --probe acknowledged--> larger --(..)--> settled --black hole--> base. Never smaller than the base, never
/// larger than the ceiling; with both equal nothing is searched. Source: RFC 8899 (DPLPMTUD); what differs, and why:
/// README.md. Threads: one owner. Time: passed in, never read. Allocates nothing.
class PmtuSearch {
 public:
  /// `start`: what is taken to pass. `likely`: tried first, before the ceiling; RFC 8899 calls this optimistic.
  struct Config {
    std::size_t start = 0;
    std::size_t ceiling = 0;
    std::size_t likely = 0;
  };
  explicit PmtuSearch(const Config& config);

  /// DATA datagrams may be so long.
  [[nodiscard]] std::size_t size() const { return size_; }
  /// The largest that will ever be tried.
  [[nodiscard]] std::size_t ceiling() const { return ceiling_; }
  /// For congestion control, which thinks in datagrams: what will probably pass, until that is known.
  [[nodiscard]] std::size_t assumed() const;
  /// Nothing is being tried at the moment.
  [[nodiscard]] bool settled() const { return !candidate_; }

  /// A probe of this many bytes should leave now, if the lane can send at all.
  [[nodiscard]] std::optional<std::size_t> probe_due(TimePoint now);
  void on_probe_sent(TimePoint now, PacketNumber number, Duration patience);
  /// Of any probe, however late.
  void on_probe_acked(TimePoint now, PacketNumber number, std::size_t size);
  void on_probe_lost(TimePoint now, PacketNumber number);
  /// When a probe of which nothing was heard counts as lost: with nothing else under way nobody would say so.
  [[nodiscard]] std::optional<TimePoint> deadline() const { return give_up_at_; }
  void on_deadline(TimePoint now);

  /// What an acknowledgement, or time, told of all packets but probes, the larger ones being those above the base.
  struct Tidings {
    std::uint64_t acked = 0;
    std::uint64_t lost = 0;
    std::optional<std::uint64_t> newest_small_acked = {};  // packet numbers
    std::optional<std::uint64_t> newest_large_acked = {};
    std::optional<std::uint64_t> oldest_large_lost = {};  // of those that no later larger one has overtaken
    std::uint64_t large_lost = 0;                         // how many of them

    void clear() { *this = {}; }
  };
  /// True: the path has become a black hole for the present size, which is the base again. `next` is the number that
  /// is sent next.
  [[nodiscard]] bool on_tidings(const Tidings& news, PacketNumber next);
  /// The path is another one: nothing is known any more.
  void restart(PacketNumber next);

  [[nodiscard]] std::uint64_t black_holes() const { return black_holes_; }
  [[nodiscard]] std::uint64_t probes_lost() const { return probes_lost_; }
  /// Probes of one size that have to be lost before it is condemned.
  [[nodiscard]] std::uint32_t tries() const;

 private:
  void pick();
  void settle(TimePoint now);
  void fail(TimePoint now);

  std::size_t base_;
  std::size_t ceiling_;
  std::size_t likely_;
  std::size_t size_;                      // confirmed
  std::size_t high_;                      // the largest that is not condemned
  std::optional<std::size_t> candidate_;  // being tried
  std::uint32_t failures_ = 0;            // of the candidate, in a row
  std::optional<PacketNumber> probe_;     // the one that is out
  std::optional<TimePoint> give_up_at_;
  std::optional<TimePoint> raise_at_;  // settled below the ceiling: that is tried again
  Duration raise_after_;
  PacketNumber first_{};  // older probes were sent on another path

  std::uint64_t acked_ = 0;  // packets, halved now and then: how much the path loses
  std::uint64_t lost_ = 0;
  // Larger ones lost since the last larger one arrived.
  std::uint64_t run_ = 0;
  std::optional<std::uint64_t> run_oldest_;
  bool small_passed_ = false;  // sent after the oldest of them

  std::uint64_t black_holes_ = 0;
  std::uint64_t probes_lost_ = 0;
};

}  // namespace penstock::engine
