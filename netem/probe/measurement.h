#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/time.h"

namespace penstock::netem::probe {

/// All in nanoseconds.
struct DelayFigures {
  std::int64_t min = 0;
  std::int64_t median = 0;  // nearest rank, like all quantiles here
  std::int64_t p90 = 0;
  std::int64_t p99 = 0;
  std::int64_t max = 0;
  double mean = 0;
  double stddev = 0;
};

struct Figures {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;  // different numbers
  std::uint64_t lost = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t reordered = 0;
  std::uint64_t corrupted = 0;
  std::uint64_t unidentified = 0;
  std::optional<DelayFigures> delay = {};
  std::optional<double> jitter_ns = {};
  std::uint64_t bursts = 0;
  double burst_length_mean = 0;  // 0 without a burst
  std::uint64_t burst_length_max = 0;
  std::uint64_t bytes = 0;
  std::optional<Duration> duration = {};  // first to last arrival; nullopt with fewer than two
  std::optional<double> rate_bps = {};
};

/// What arrived of one run of numbered datagrams, and what that says of the link. Pure; keeps every delay, so that
/// quantiles are exact. Bound: one bit and one delay for each of `total` numbers. Threads: one owner. Source: RFC 4737
/// section 3.4 (reordered), RFC 3550 section 6.4.1 (difference of delays).
class Measurement {
 public:
  static constexpr std::uint64_t total_max = 20'000'000;  // 163 MB

  /// Requires: total <= total_max.
  explicit Measurement(std::uint64_t total);

  struct Arrival {
    std::uint64_t number;
    TimePoint sent_at;
    TimePoint received_at;
    std::uint64_t bytes;
    bool damaged = false;  // its payload; its header is sound
  };
  /// In order of arrival. False, and not counted, for a number that can not be.
  bool on_arrival(const Arrival& arrival);
  /// One of ours that does not know who it is any more. `received_at` counts for the rate.
  void on_unidentified(TimePoint received_at, std::uint64_t bytes);
  /// How many were sent in truth; without it, `total`. Requires: at most total.
  void on_finish(std::uint64_t sent);

  [[nodiscard]] Figures figures() const;

 private:
  void count_bytes(TimePoint at, std::uint64_t bytes);

  std::uint64_t sent_;
  std::vector<bool> seen_;
  std::vector<std::int64_t> delays_;  // of first arrivals, in their order
  std::uint64_t next_expected_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t reordered_ = 0;
  std::uint64_t corrupted_ = 0;
  std::uint64_t unidentified_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t first_bytes_ = 0;
  std::uint64_t arrivals_ = 0;
  TimePoint first_at_{};
  TimePoint last_at_{};
};

}  // namespace penstock::netem::probe
