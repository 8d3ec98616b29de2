#include "control/client/progress_meter.h"

#include <doctest/doctest.h>

using namespace penstock;
using namespace penstock::control;
using namespace std::chrono_literals;

namespace {

constexpr ProgressMeter::TimePoint begun{};

RunStats moved(std::uint64_t bytes, std::uint64_t withheld = 0) {
  RunStats stats;
  stats.bytes = bytes;
  stats.bytes_withheld = withheld;
  return stats;
}

}  // namespace

TEST_CASE("progress meter: the rate is that of the last three seconds, not of the whole transfer") {
  ProgressMeter meter;
  std::uint64_t bytes = 0;
  for (int second = 0; second < 10; ++second)
    (void)meter.sample(begun + second * 1s, moved(bytes += 1'000'000), {}, "path");
  Progress last;
  for (int second = 10; second < 14; ++second)
    last = meter.sample(begun + second * 1s, moved(bytes += 9'000'000), {}, "path");
  CHECK(last.rate_bps == 72'000'000);
}

TEST_CASE("progress meter: what need not travel makes no rate") {
  ProgressMeter meter;
  (void)meter.sample(begun, moved(5'000'000, 5'000'000), {}, "");
  const auto later = meter.sample(begun + 1s, moved(9'000'000, 8'000'000), {}, "");
  CHECK(later.bytes == 9'000'000);
  CHECK(later.rate_bps == 8'000'000);
}

TEST_CASE("progress meter: no rate, and no time left, before there is a tenth of a second to judge by") {
  ProgressMeter meter;
  auto stats = moved(1000);
  stats.bytes_total = 2000;
  CHECK(meter.sample(begun, stats, {}, "").rate_bps == 0);
  stats.bytes = 1500;
  const auto soon = meter.sample(begun + 100ms, stats, {}, "");
  CHECK(soon.rate_bps == 0);
  CHECK_FALSE(soon.eta_s);
  const auto then = meter.sample(begun + 101ms, stats, {}, "");
  CHECK(then.rate_bps > 0);
  CHECK(then.eta_s);
}

TEST_CASE("progress meter: the time left is what is missing at the present rate; unknown while the total is") {
  ProgressMeter meter;
  auto stats = moved(0);
  (void)meter.sample(begun, stats, {}, "");
  stats.bytes = 1'000'000;
  CHECK_FALSE(meter.sample(begun + 1s, stats, {}, "").eta_s);
  stats.bytes = 2'000'000;
  stats.bytes_total = 10'000'000;
  CHECK(meter.sample(begun + 2s, stats, {}, "").eta_s == 8);
  stats.bytes = 11'000'000;  // the source has grown: never less than nothing
  CHECK(meter.sample(begun + 3s, stats, {}, "").eta_s == 0);
}

TEST_CASE("progress meter: a new session, which counts from the beginning, starts the rate anew") {
  ProgressMeter meter;
  (void)meter.sample(begun, moved(0), {}, "");
  CHECK(meter.sample(begun + 1s, moved(8'000'000), {}, "").rate_bps == 64'000'000);
  (void)meter.sample(begun + 2s, moved(0), {}, "");
  CHECK(meter.sample(begun + 2100ms, moved(1'000'000), {}, "").rate_bps == 0);
  CHECK(meter.sample(begun + 3s, moved(2'000'000), {}, "").rate_bps == 16'000'000);
}

TEST_CASE("progress meter: what was shown as done stays so while a new session finds it again") {
  ProgressMeter meter;
  auto stats = moved(600);
  stats.bytes_total = 1000;
  stats.files = 2;
  (void)meter.sample(begun, stats, {}, "");
  const auto again = meter.sample(begun + 1s, moved(0), {}, "");  // the manifest is on its way
  CHECK(again.bytes == 600);
  CHECK(again.files == 2);
  stats.bytes = 700;
  CHECK(meter.sample(begun + 2s, stats, {}, "").bytes == 700);
  stats.bytes_total = 500;  // a file was left out, and nothing of it counts any more
  CHECK(meter.sample(begun + 3s, stats, {}, "").bytes == 500);
}

TEST_CASE("progress meter: loss is a share of the sender's packets, nothing while none is sent") {
  ProgressMeter meter;
  CHECK(meter.sample(begun, moved(0), {}, "").loss == 0);
  const SenderNumbers sender{.packets_sent = 200, .packets_lost = 3, .bytes_retransmitted = 0, .rtt_ms = 12.5};
  const auto shown = meter.sample(begun + 1s, moved(0), sender, "cwnd");
  CHECK(shown.loss == doctest::Approx(0.015));
  CHECK(shown.rtt_ms == 12.5);
  CHECK(shown.limited_by == "cwnd");
}

TEST_CASE("stall watch: only growth within a session moves the time on") {
  StallWatch watch{begun};
  watch.on_durable(begun + 1s, 10);
  watch.on_durable(begun + 5s, 10);
  CHECK(watch.stalled(begun + 6s) == 5s);
  watch.on_session_begun();
  CHECK(watch.stalled(begun + 7s) == 6s);  // a new session alone is no byte made durable
  watch.on_durable(begun + 8s, 1);
  CHECK(watch.stalled(begun + 8s) == 0s);
}
