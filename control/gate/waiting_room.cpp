#include "control/gate/waiting_room.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::control {

WaitingRoom::Ticket WaitingRoom::enter(AddressPrefix from, UniqueFd socket) {
  PENSTOCK_CHECK(has_room());
  if (waiting_ >= places_) show_one_out();
  ++waiting_;
  ++by_from_[from];
  return guests_.insert(guests_.end(), Guest{.from = from, .socket = std::move(socket)});
}

void WaitingRoom::leave(Ticket guest) {
  if (!guest->shown_out) {
    --waiting_;
    const auto same = by_from_.find(guest->from);
    if (--same->second == 0) by_from_.erase(same);
  }
  guests_.erase(guest);
}

void WaitingRoom::show_one_out() {
  const auto most = std::max_element(by_from_.begin(), by_from_.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& candidate) {
    return !candidate.shown_out && candidate.from == most->first;
  });
  PENSTOCK_CHECK(guest != guests_.end());
  ::shutdown(guest->socket.get(), SHUT_RDWR);
  guest->shown_out = true;
  --waiting_;
  if (--most->second == 0) by_from_.erase(most);
}

}  // namespace penstock::control
