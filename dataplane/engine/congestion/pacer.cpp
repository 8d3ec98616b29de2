#include "dataplane/engine/congestion/pacer.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::engine {
namespace {
constexpr DataRate fast = DataRate::megabits_per_second(2000);
constexpr Duration burst_time = std::chrono::microseconds{250};
constexpr Duration burst_time_fast = std::chrono::milliseconds{1};
constexpr std::uint64_t burst_max = 64 * KiB;
constexpr std::uint64_t burst_max_fast = 1 * MiB;  // 16 batches, after which ACKs are read (PROTOCOL section 4)
// A few time slices of a busy machine. Less: their rate is lost; more: a rate cap means less.
constexpr Duration bank_time = std::chrono::milliseconds{25};
// Of the rate, on top. Less: a machine that is late often never catches up; more: paying back comes as a burst.
constexpr std::uint64_t repayment_divisor = 4;
}  // namespace

std::uint64_t Pacer::burst() const {
  const std::uint64_t bytes = rate_ > fast ? std::min(burst_max_fast, rate_.bytes_in(burst_time_fast))
                                           : std::min(burst_max, rate_.bytes_in(burst_time));
  return std::max(2 * packet_bytes_, bytes);
}

Pacer::Account Pacer::account(TimePoint now) const {
  const auto bucket = static_cast<std::int64_t>(burst());
  if (!started_) return {.level = bucket, .bank = 0};
  // An hour pays any debt back; longer would only risk the product.
  const Duration since = std::clamp<Duration>(now - at_, Duration{}, std::chrono::hours{1});
  const std::uint64_t earned = rate_.bytes_in(since);
  const std::uint64_t repaid = std::min(settled_.bank, earned / repayment_divisor);
  Account out{.level = settled_.level + static_cast<std::int64_t>(earned + repaid), .bank = settled_.bank - repaid};
  if (out.level > bucket) {
    const auto over = static_cast<std::uint64_t>(out.level - bucket);
    out.level = bucket;
    if (backlogged_) out.bank = std::min(out.bank + over, rate_.bytes_in(bank_time));
  }
  return out;
}

void Pacer::settle(TimePoint now) {
  settled_ = account(now);
  // A time-out is judged by a moment that may lie before the last packet: time is never counted twice.
  at_ = std::max(at_, now);
}

void Pacer::set_rate(TimePoint now, DataRate rate) {
  PENSTOCK_CHECK(rate > DataRate{});
  if (rate == rate_) return;
  if (started_) settle(now);
  // Banked is time that was missed: at a lower rate it is fewer bytes. The bytes alone, cut to what may be banked
  // there, would look like a thread that is as late as can be.
  if (rate < rate_) settled_.bank = rate.bytes_in(rate_.time_for(settled_.bank));
  rate_ = rate;
}

void Pacer::on_backlog(TimePoint now) {
  if (backlogged_) return;
  settle(now);
  started_ = true;
  backlogged_ = true;
}

void Pacer::on_idle(TimePoint now) {
  if (!backlogged_) return;
  settle(now);
  settled_.bank = 0;
  backlogged_ = false;
}

std::uint64_t Pacer::available(TimePoint now) const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, account(now).level));
}

void Pacer::on_sent(TimePoint now, std::uint64_t bytes) {
  settle(now);
  settled_.level -= static_cast<std::int64_t>(bytes);
  started_ = true;
}

std::uint64_t Pacer::banked(TimePoint now) const { return account(now).bank; }

bool Pacer::far_behind(TimePoint now) const { return banked(now) > rate_.bytes_in(bank_time) / 2; }

bool Pacer::loses_rate(TimePoint now) const { return banked(now) == rate_.bytes_in(bank_time); }

std::uint64_t Pacer::worthwhile() const {
  // As of the last change, so that it stays the same between saying when to wake and waking.
  const bool behind = settled_.bank > burst();
  const std::uint64_t share = std::min(burst_max, behind ? burst() / 4 * 3 : burst() / 8 * 7);
  return std::max(packet_bytes_, share - share % packet_bytes_);
}

TimePoint Pacer::ready_at(TimePoint now) const {
  const auto wanted = static_cast<std::int64_t>(worthwhile());
  const Account have = account(now);
  if (have.level >= wanted) return now;
  const auto missing = static_cast<std::uint64_t>(wanted - have.level);
  const std::uint64_t earned = missing - std::min(have.bank, missing / (repayment_divisor + 1));
  // One nanosecond more than the division says: time_for rounds down, and waking a hair too early would spin.
  return now + rate_.time_for(earned) + Duration{1};
}

}  // namespace penstock::engine
