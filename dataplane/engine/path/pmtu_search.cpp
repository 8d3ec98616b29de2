#include "dataplane/engine/path/pmtu_search.h"

#include <algorithm>
#include <chrono>

namespace penstock::engine {
namespace {

// RFC 8899 section 5.1.2: MAX_PROBES.
constexpr std::uint32_t tries_min = 3;
// Tuning: at 56 % loss and more mere chance condemns now and then; more tries would keep the search at one size for
// long.
constexpr std::uint32_t tries_max = 12;
constexpr std::uint64_t chance_ppm = 1'000;  // that mere loss took all of them
constexpr std::uint64_t sample_min = 16;     // packets: fewer say nothing about loss
constexpr std::uint64_t sample_max = 1024;   // then older ones count half
// Tuning: closer to the truth than this is worth half a percent, and costs another round of probes.
constexpr std::size_t step_min = 8;
// Tuning: fewer, and a burst of mere loss is a false alarm more often (which costs a round trip of small datagrams);
// more, and a lane with little to send is slow to find out.
constexpr std::uint64_t black_hole_run = 8;
// RFC 8899 section 5.1.1 has PMTU_RAISE_TIMER at 600 s. A transfer is over by then; the first tries come sooner.
constexpr Duration raise_min = std::chrono::seconds{10};
constexpr Duration raise_max = std::chrono::seconds{600};

}  // namespace

PmtuSearch::PmtuSearch(const Config& config)
    : base_(config.start),
      ceiling_(std::max(config.start, config.ceiling)),
      likely_(config.likely),
      size_(base_),
      high_(ceiling_),
      raise_after_(raise_min) {
  pick();
}

std::size_t PmtuSearch::assumed() const {
  if (size_ == base_ && high_ == ceiling_) return std::clamp(likely_, base_, ceiling_);
  return size_;
}

/// What to try next: the likely size, then the ceiling, then the middle of what is not known.
void PmtuSearch::pick() {
  failures_ = 0;
  candidate_.reset();
  if (high_ <= size_) return;
  if (likely_ > size_ && likely_ <= high_)
    candidate_ = likely_;
  else if (high_ == ceiling_)
    candidate_ = ceiling_;
  else if (high_ - size_ >= step_min)
    candidate_ = size_ + (high_ - size_ + 1) / 2;
}

std::optional<std::size_t> PmtuSearch::probe_due(TimePoint now) {
  if (probe_) return std::nullopt;
  if (!candidate_) {
    if (!raise_at_ || now < *raise_at_) return std::nullopt;
    raise_at_.reset();
    raise_after_ = std::min(2 * raise_after_, raise_max);
    high_ = ceiling_;
    pick();
  }
  return candidate_;
}

void PmtuSearch::on_probe_sent(TimePoint now, PacketNumber number, Duration patience) {
  probe_ = number;
  give_up_at_ = now + patience;
}

void PmtuSearch::on_probe_acked(TimePoint now, PacketNumber number, std::size_t size) {
  if (number < first_) return;
  if (probe_ == number) {
    probe_.reset();
    give_up_at_.reset();
  }
  if (size <= size_) return;
  size_ = size;
  // Condemned wrongly: all is open again above it.
  if (size > high_) high_ = ceiling_;
  if (size_ == ceiling_) raise_after_ = raise_min;
  raise_at_.reset();
  pick();
  settle(now);
}

void PmtuSearch::on_probe_lost(TimePoint now, PacketNumber number) {
  if (probe_ == number) fail(now);
}

void PmtuSearch::on_deadline(TimePoint now) {
  if (give_up_at_ && *give_up_at_ <= now) fail(now);
}

void PmtuSearch::fail(TimePoint now) {
  probe_.reset();
  give_up_at_.reset();
  ++probes_lost_;
  if (!candidate_ || ++failures_ < tries()) return;
  high_ = *candidate_ - 1;
  pick();
  settle(now);
}

void PmtuSearch::settle(TimePoint now) {
  if (!candidate_ && size_ < ceiling_) raise_at_ = now + raise_after_;
}

std::uint32_t PmtuSearch::tries() const {
  if (acked_ + lost_ < sample_min) return tries_min;
  std::uint64_t ppm = 1'000'000;
  std::uint32_t tries = 0;
  while (ppm > chance_ppm && tries < tries_max) {
    ppm = ppm * lost_ / (acked_ + lost_);
    ++tries;
  }
  return std::max(tries, tries_min);
}

bool PmtuSearch::on_tidings(const Tidings& news, PacketNumber next) {
  acked_ += news.acked;
  lost_ += news.lost;
  while (acked_ + lost_ > sample_max) {
    acked_ /= 2;
    lost_ /= 2;
  }
  if (size_ == base_) return false;
  if (news.newest_large_acked && run_oldest_ && *news.newest_large_acked > *run_oldest_) {
    run_ = 0;
    run_oldest_.reset();
    small_passed_ = false;
  }
  if (news.large_lost > 0) {
    run_ += news.large_lost;
    run_oldest_ = std::min(run_oldest_.value_or(*news.oldest_large_lost), *news.oldest_large_lost);
  }
  if (run_oldest_ && news.newest_small_acked && *news.newest_small_acked > *run_oldest_) small_passed_ = true;
  if (run_ < black_hole_run || !small_passed_) return false;
  ++black_holes_;
  restart(next);
  return true;
}

void PmtuSearch::restart(PacketNumber next) {
  size_ = base_;
  high_ = ceiling_;
  probe_.reset();
  give_up_at_.reset();
  raise_at_.reset();
  raise_after_ = raise_min;
  first_ = next;
  run_ = 0;
  run_oldest_.reset();
  small_passed_ = false;
  pick();
}

}  // namespace penstock::engine
