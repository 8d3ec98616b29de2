#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// A number that only grows. Threads: any; relaxed, so two counters read together need not be of one instant.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct MetricSample {
  std::string name;
  std::string help;
  std::uint64_t value;
  bool operator==(const MetricSample&) const = default;
};

/// The counters of one process, by their final names (Prometheus conventions). Owned by main and handed down; there is
/// no global. Threads: any.
class MetricsRegistry {
 public:
  MetricsRegistry() = default;
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  /// The counter of this name, made at the first call; the reference lives as long as the registry. Look it up once,
  /// not per packet. Requires: `name` is `penstock_`, then [a-z0-9_]+, then `_total`.
  Counter& counter(std::string_view name, std::string_view help);

  /// Every counter, by name.
  [[nodiscard]] std::vector<MetricSample> samples() const;

 private:
  struct Entry {
    std::string name;
    std::string help;
    Counter counter;
  };
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;  // a deque keeps references valid while it grows
};

}  // namespace penstock
