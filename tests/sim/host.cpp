#include "tests/sim/host.h"

#include <algorithm>
#include <utility>

namespace penstock::sim {
namespace {

constexpr std::size_t batch_segments_max = 64;  // as UDP_GRO
constexpr int turns_at_once_max = 10'000;

ConnectionId connection_of(const Datagram& datagram) {
  const auto header = read_clear_header(datagram);
  return header ? header->connection : ConnectionId{};
}

}  // namespace

TimePoint Host::awake_at() const {
  const TimePoint now = events_.now();
  return now >= sleep_.from && now < sleep_.until ? sleep_.until : now;
}

void Host::deliver(Datagram datagram, engine::EcnMark mark) {
  if (awake_at() > events_.now() && inbox_.size() >= sleep_.room) return;
  inbox_.push_back({std::move(datagram), mark});
  if (std::exchange(process_scheduled_, true)) return;
  events_.schedule(events_.now() + coalescing_, [this] { process(); });
}

void Host::process() {
  if (const TimePoint awake = awake_at(); awake > events_.now()) return events_.schedule(awake, [this] { process(); });
  process_scheduled_ = false;
  std::vector<Arrival> arrived;
  arrived.swap(inbox_);
  std::vector<Endpoint*> heard;
  for (std::size_t first = 0; first < arrived.size();) {
    const ConnectionId connection = connection_of(arrived[first].bytes);
    const std::size_t segment = arrived[first].bytes.size();
    batch_.assign(arrived[first].bytes.begin(), arrived[first].bytes.end());
    std::size_t next = first + 1;
    // GRO joins a run of equal datagrams of one flow and one mark; a shorter one ends it.
    for (bool open = true; open && next < arrived.size() && next - first < batch_segments_max; ++next) {
      const Datagram& more = arrived[next].bytes;
      if (connection_of(more) != connection || more.size() > segment || more.empty()) break;
      if (arrived[next].mark != arrived[first].mark) break;
      open = more.size() == segment;
      batch_.insert(batch_.end(), more.begin(), more.end());
    }
    if (const auto endpoint = endpoints_.find(connection); endpoint != endpoints_.end()) {
      endpoint->second->receive(batch_, segment, arrived[first].mark);
      if (std::find(heard.begin(), heard.end(), endpoint->second) == heard.end()) heard.push_back(endpoint->second);
    } else {
      strangers_ += next - first;
    }
    first = next;
  }
  for (Endpoint* endpoint : heard) endpoint->turn();
}

bool Wakeup::arm(std::optional<TimePoint> deadline) {
  deadline_ = soon_ ? events_.now() : deadline;
  if (last_armed_ != events_.now()) turns_at_once_ = 0;
  last_armed_ = events_.now();
  if (!deadline_) return true;
  if (*deadline_ <= events_.now() && ++turns_at_once_ > turns_at_once_max) return false;
  schedule(std::max(*deadline_, events_.now()));
  return true;
}

void Wakeup::soon() {
  soon_ = true;
  deadline_ = events_.now();
  schedule(events_.now());
}

/// At most one event waits that is not needed any more: an engine that is heard of a thousand times before its
/// deadline leaves one entry in the queue, not a thousand.
void Wakeup::schedule(TimePoint at) {
  if (scheduled_ && *scheduled_ <= at) return;
  scheduled_ = at;
  events_.schedule(at, [this, at] {
    if (scheduled_ != at) return;  // an earlier one took its place
    scheduled_.reset();
    if (!deadline_) return;
    const TimePoint due = std::max(*deadline_, host_ == nullptr ? events_.now() : host_->awake_at());
    if (due <= events_.now()) {
      soon_ = false;
      turn_();
    } else {
      schedule(due);
    }
  });
}

}  // namespace penstock::sim
