#include "common/metrics.h"

#include <algorithm>

#include "common/check.h"

namespace penstock {
namespace {

bool is_counter_name(std::string_view name) {
  constexpr std::string_view head = "penstock_";
  constexpr std::string_view tail = "_total";
  if (name.size() <= head.size() + tail.size() || !name.starts_with(head) || !name.ends_with(tail)) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

}  // namespace

Counter& MetricsRegistry::counter(std::string_view name, std::string_view help) {
  PENSTOCK_CHECK(is_counter_name(name));
  const std::lock_guard lock{mutex_};
  for (Entry& entry : entries_)
    if (entry.name == name) return entry.counter;
  Entry& entry = entries_.emplace_back();
  entry.name = name;
  entry.help = help;
  return entry.counter;
}

std::vector<MetricSample> MetricsRegistry::samples() const {
  std::vector<MetricSample> samples;
  {
    const std::lock_guard lock{mutex_};
    samples.reserve(entries_.size());
    for (const Entry& entry : entries_) samples.push_back({entry.name, entry.help, entry.counter.value()});
  }
  std::sort(samples.begin(), samples.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return samples;
}

}  // namespace penstock
