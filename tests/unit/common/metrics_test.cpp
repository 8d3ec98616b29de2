#include "common/metrics.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

namespace penstock {
namespace {

TEST_CASE("metrics: one name is one counter, whoever asks") {
  MetricsRegistry registry;
  Counter& first = registry.counter("penstock_datagrams_received_total", "Datagrams read from sockets.");
  Counter& again = registry.counter("penstock_datagrams_received_total", "Datagrams read from sockets.");
  CHECK(&first == &again);
  first.add();
  again.add(41);
  CHECK(first.value() == 42);
}

TEST_CASE("metrics: references stay valid while the registry grows, and samples come by name") {
  MetricsRegistry registry;
  Counter& kept = registry.counter("penstock_b_total", "b");
  for (int i = 0; i < 500; ++i) registry.counter("penstock_c" + std::to_string(i) + "_total", "c").add();
  registry.counter("penstock_a_total", "a").add(3);
  kept.add(9);
  const auto samples = registry.samples();
  REQUIRE(samples.size() == 502);
  CHECK(samples[0] == MetricSample{"penstock_a_total", "a", 3});
  CHECK(samples[1] == MetricSample{"penstock_b_total", "b", 9});
  for (std::size_t i = 1; i < samples.size(); ++i) CHECK(samples[i - 1].name < samples[i].name);
}

TEST_CASE("metrics: counts from several threads are all there") {
  MetricsRegistry registry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&registry] {
      Counter& counter = registry.counter("penstock_shared_total", "shared");
      for (int i = 0; i < 10'000; ++i) counter.add();
    });
  for (auto& thread : threads) thread.join();
  CHECK(registry.counter("penstock_shared_total", "shared").value() == 40'000);
}

}  // namespace
}  // namespace penstock
