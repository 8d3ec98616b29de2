#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "common/check.h"

namespace penstock::control {

/// How many transfers a daemon runs at one time, bulk probes included, and who is one of them. A place is an object: it
/// is given back when the last who holds it lets go, be that at the end of the work, by a refusal half-way, or because
/// an exception took the coroutine's frame away. Nobody counts by hand.
/// Lifetime: outlives its places. Threads: one owner.
class TransferPlaces {
 public:
  class Place {
   public:
    explicit Place(TransferPlaces& of) : of_(of) {}
    ~Place() { of_.on_place_left(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    TransferPlaces& of_;
  };

  explicit TransferPlaces(std::uint32_t max) : max_(max) {}
  TransferPlaces(const TransferPlaces&) = delete;
  TransferPlaces& operator=(const TransferPlaces&) = delete;

  [[nodiscard]] bool full() const { return taken_ >= max_; }
  [[nodiscard]] bool empty() const { return taken_ == 0; }
  /// Requires: not full().
  [[nodiscard]] std::shared_ptr<const Place> take() {
    PENSTOCK_CHECK(!full());
    auto place = std::make_shared<const Place>(*this);
    ++taken_;  // last: what throws before has taken nothing, and gives nothing back
    return place;
  }
  /// Whether a place was given back since this was asked last.
  [[nodiscard]] bool take_news() { return std::exchange(given_back_, false); }
  /// Called for each place that is given back. Must not throw.
  std::function<void()> on_given_back;

 private:
  void on_place_left() {
    --taken_;
    given_back_ = true;
    if (on_given_back) on_given_back();
  }

  std::uint32_t max_;
  std::uint32_t taken_ = 0;
  bool given_back_ = false;
};

using TransferPlace = std::shared_ptr<const TransferPlaces::Place>;

}  // namespace penstock::control
