#include "dataplane/engine/lane/recovery.h"

#include <algorithm>

// Which file bytes are on their way, and whose packets' fate says nothing of them any more.

namespace penstock::engine {

using bytes::Interval;

namespace {

// Data that leaves so much later is no repeat of what was left open: a probe would have repeated that before, a second
// apart at the slowest rates.
constexpr Duration data_pause_min = std::chrono::milliseconds{1500};

void append(std::vector<TransferRange>& ranges, std::uint64_t begin, std::uint64_t length) {
  const TransferRange added{{begin}, {begin + length}};
  if (!ranges.empty() && ranges.back().end == added.begin)
    ranges.back().end = added.end;
  else
    ranges.push_back(added);
}

}  // namespace

void Recovery::note_data_sent(std::uint64_t number, TimePoint now) {
  data_answers_.on_sent(now, number, std::max<Duration>(data_pause_min, 2 * rtt_.probe_timeout()));
}

std::optional<TimePoint> Recovery::data_unanswered_since() const {
  const auto since = data_answers_.unanswered_since();
  return since && !resolved_.contains(data_answers_.newest()) ? since : std::nullopt;
}

std::optional<TransferRange> Recovery::oldest_data_in_flight() const {
  Interval within{ledger_.first(), ledger_.end()};
  while (const auto gap = resolved_.first_gap(within)) {
    for (std::uint64_t n = gap->begin; n != gap->end; ++n) {
      if (!carries_data(n)) continue;
      const SentPacket& packet = ledger_[n];
      return TransferRange{{packet.offset}, {packet.offset + packet.length}};
    }
    within.begin = gap->end;
  }
  return std::nullopt;
}

std::optional<TransferRange> Recovery::newest_data_in_flight() const {
  for (std::uint64_t n = ledger_.end(); n-- > ledger_.first();) {
    if (!carries_data(n)) continue;
    const SentPacket& packet = ledger_[n];
    if (resolved_.contains(n)) return std::nullopt;  // all older ones are being handled by loss detection
    return TransferRange{{packet.offset}, {packet.offset + packet.length}};
  }
  return std::nullopt;
}

void Recovery::data_in_flight(std::vector<TransferRange>& to) const {
  Interval within{ledger_.first(), ledger_.end()};
  while (const auto gap = resolved_.first_gap(within)) {
    for (std::uint64_t n = gap->begin; n != gap->end; ++n)
      if (ledger_[n].kind == SentKind::data) report(to, n);
    within.begin = gap->end;
  }
}

void Recovery::disown_data(TransferRange range, DeliveryNews& news) {
  if (range.empty() || ledger_.first() == ledger_.end()) return;
  disowned_.disown(range, ledger_.end());
  if (!disowned_.full()) return;
  ++ledger_walks_;
  // Too many pieces to remember: what is left of the packets that they touch goes again too, and those packets say
  // nothing any more.
  for (std::uint64_t n = ledger_.first(); n != ledger_.end(); ++n) {
    const SentPacket& packet = ledger_[n];
    if (packet.kind != SentKind::data && packet.kind != SentKind::copied) continue;
    if (!disowned_.touches(n, packet.offset, packet.length)) continue;
    if (packet.kind == SentKind::data) report(news.data_lost, n);
    if (!resolved_.contains(n)) on_resolved(packet);
    ledger_.disown(n);
  }
  disowned_.clear();
}

bool Recovery::carries_data(std::uint64_t number) const {
  const SentPacket& packet = ledger_[number];
  if (packet.kind != SentKind::data) return false;
  return disowned_.empty() || !disowned_.touches(number, packet.offset, packet.length);
}

/// What packet `number` carried, but for what was disowned since.
void Recovery::report(std::vector<TransferRange>& to, std::uint64_t number) const {
  const SentPacket& packet = ledger_[number];
  if (disowned_.empty()) return append(to, packet.offset, packet.length);
  disowned_.for_each_owned(number, packet.offset, packet.length,
                           [&](std::uint64_t offset, std::uint64_t length) { append(to, offset, length); });
}

}  // namespace penstock::engine
