#pragma once

#include <cstddef>
#include <list>
#include <map>

#include "common/unique_fd.h"
#include "control/gate/rate_limiter.h"

namespace penstock::control {

/// The connections that have not proven yet who they are. When all places are taken a newcomer gets that of the one
/// who has waited longest among those of the address prefix with the most places: whoever opens many connections and
/// says nothing pushes out himself, and a client that proves itself within a round trip or two gets in between.
/// Bound: `places` connections, and as many again that were shown the door and have not gone through it yet.
/// Threads: one owner.
class WaitingRoom {
 public:
  struct Guest {
    AddressPrefix from;
    UniqueFd socket;  // a duplicate: the room may shut the connection down whatever its owner does meanwhile
    bool shown_out = false;
  };
  using Ticket = std::list<Guest>::iterator;

  /// At least one place.
  explicit WaitingRoom(std::size_t places) : places_(places > 0 ? places : 1) {}

  /// False when even those who were shown out have not left: then a newcomer is one too many.
  [[nodiscard]] bool has_room() const { return guests_.size() < 2 * places_; }
  /// Takes a place. Requires: has_room(). The ticket is good until `leave`.
  Ticket enter(AddressPrefix from, UniqueFd socket);
  void leave(Ticket guest);
  /// Waiting, without those who were shown out.
  [[nodiscard]] std::size_t waiting() const { return waiting_; }

 private:
  void show_one_out();

  std::size_t places_;
  std::size_t waiting_ = 0;
  std::list<Guest> guests_;                       // longest here first
  std::map<AddressPrefix, std::size_t> by_from_;  // of those that wait
};

}  // namespace penstock::control
