#include "netem/probe/measurement.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace penstock::netem::probe {
namespace {

std::optional<DelayFigures> figures_of(std::vector<std::int64_t> delays) {
  if (delays.empty()) return std::nullopt;
  std::sort(delays.begin(), delays.end());
  const auto quantile = [&](std::size_t percent) {
    const std::size_t rank = (delays.size() * percent + 99) / 100;
    return delays[std::max<std::size_t>(rank, 1) - 1];
  };
  const auto count = static_cast<double>(delays.size());
  double sum = 0;
  for (const std::int64_t delay : delays) sum += static_cast<double>(delay);
  const double mean = sum / count;
  double squares = 0;
  for (const std::int64_t delay : delays) {
    const double difference = static_cast<double>(delay) - mean;
    squares += difference * difference;
  }
  return DelayFigures{.min = delays.front(),
                      .median = quantile(50),
                      .p90 = quantile(90),
                      .p99 = quantile(99),
                      .max = delays.back(),
                      .mean = mean,
                      .stddev = std::sqrt(squares / count)};
}

std::optional<double> jitter_of(const std::vector<std::int64_t>& delays) {
  if (delays.size() < 2) return std::nullopt;
  double sum = 0;
  for (std::size_t i = 1; i < delays.size(); ++i) sum += static_cast<double>(std::abs(delays[i] - delays[i - 1]));
  return sum / static_cast<double>(delays.size() - 1);
}

}  // namespace

Measurement::Measurement(std::uint64_t total) : sent_(total), seen_(total) { PENSTOCK_CHECK(total <= total_max); }

bool Measurement::on_arrival(const Arrival& arrival) {
  if (arrival.number >= seen_.size()) return false;
  count_bytes(arrival.received_at, arrival.bytes);
  if (arrival.damaged) corrupted_ += 1;
  if (seen_[arrival.number]) {
    duplicates_ += 1;
    return true;
  }
  seen_[arrival.number] = true;
  delays_.push_back((arrival.received_at - arrival.sent_at).count());
  if (arrival.number < next_expected_) {
    reordered_ += 1;
  } else {
    next_expected_ = arrival.number + 1;
  }
  return true;
}

void Measurement::on_unidentified(TimePoint received_at, std::uint64_t bytes) {
  count_bytes(received_at, bytes);
  corrupted_ += 1;
  unidentified_ += 1;
}

void Measurement::on_finish(std::uint64_t sent) {
  PENSTOCK_CHECK(sent <= seen_.size());
  sent_ = sent;
}

Figures Measurement::figures() const {
  Figures figures{.sent = sent_,
                  .received = delays_.size(),
                  .duplicates = duplicates_,
                  .reordered = reordered_,
                  .corrupted = corrupted_,
                  .unidentified = unidentified_,
                  .delay = figures_of(delays_),
                  .jitter_ns = jitter_of(delays_),
                  .bytes = bytes_};
  std::uint64_t missing = 0;
  std::uint64_t run = 0;
  for (std::uint64_t number = 0; number < sent_; ++number) {
    if (seen_[number]) {
      run = 0;
      continue;
    }
    missing += 1;
    run += 1;
    if (run == 1) figures.bursts += 1;
    figures.burst_length_max = std::max(figures.burst_length_max, run);
  }
  if (figures.bursts > 0) {
    figures.burst_length_mean = static_cast<double>(missing) / static_cast<double>(figures.bursts);
  }
  // A copy without a name may be of one that also came whole.
  figures.lost = missing - std::min(missing, unidentified_);
  if (arrivals_ >= 2 && last_at_ > first_at_) {
    figures.duration = last_at_ - first_at_;
    figures.rate_bps =
        static_cast<double>(bytes_ - first_bytes_) * 8e9 / static_cast<double>(figures.duration->count());
  }
  return figures;
}

void Measurement::count_bytes(TimePoint at, std::uint64_t bytes) {
  if (arrivals_ == 0) {
    first_at_ = at;
    first_bytes_ = bytes;
  }
  last_at_ = std::max(last_at_, at);
  bytes_ += bytes;
  arrivals_ += 1;
}

}  // namespace penstock::netem::probe
