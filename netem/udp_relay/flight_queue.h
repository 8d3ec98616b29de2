#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/time.h"
#include "netem/link_model.h"
#include "netem/release_queue.h"

namespace penstock::netem {

struct Flow;

enum class Towards : std::uint8_t { target, client };

/// One datagram on its way through the link.
struct Flight {
  Towards towards = Towards::target;
  std::shared_ptr<Flow> flow;
  std::vector<std::byte> bytes;
};

/// Datagrams in flight, earliest first; of equal times, first offered, first delivered. Bound: `bytes_max` of payload;
/// beyond it a datagram is dropped and counted, which only a link with more delay x rate than that can reach. Threads:
/// one owner.
class FlightQueue {
 public:
  explicit FlightQueue(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  /// Copies `payload` once for this delivery and flips the bit that the link damaged.
  void push(const Delivery& delivery, Towards towards, const std::shared_ptr<Flow>& flow,
            std::span<const std::byte> payload);
  /// The earliest one, if its time has come.
  std::optional<Flight> pop_due(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> next() const { return flights_.next(); }
  [[nodiscard]] std::uint64_t overflows() const { return overflows_; }

 private:
  ReleaseQueue<Flight> flights_;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_max_;
  std::uint64_t overflows_ = 0;
};

}  // namespace penstock::netem
