#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/engine/wire/ecn_mark.h"
#include "netem/link_model.h"
#include "tests/sim/datagram.h"
#include "tests/sim/event_queue.h"

namespace penstock::sim {

/// A datagram about to enter the link.
struct Sighting {
  TimePoint at;
  std::uint64_t index = 0;  // 0: the first one this way
  ClearHeader header;
  std::span<const std::byte> bytes;
  engine::EcnMark mark = engine::EcnMark::none;  // as it was sent
};

/// A box behind the bottleneck, and what it makes of marks in IP headers.
enum class MarkBox : std::uint8_t { honest, bleaches, drops_marked, rewrites, marks_all };
[[nodiscard]] std::string_view to_string(MarkBox box);
/// nullopt: it drops the datagram.
[[nodiscard]] std::optional<engine::EcnMark> pass(MarkBox box, engine::EcnMark mark);

/// One direction of the network: rules of the test first, then the link's own luck, then the far host.
class Pipe {
 public:
  using Rule = std::function<bool(const Sighting&)>;
  using Meddler = std::function<std::vector<Datagram>(const Sighting&)>;

  /// `deliver` runs at the far end's time. Borrowed: `events`, for the pipe's life.
  Pipe(EventQueue& events, const netem::LinkSettings& settings, std::uint64_t seed, std::uint8_t direction,
       TraceHash& trace, std::function<void(Datagram, engine::EcnMark)> deliver);

  void send(std::span<const std::byte> datagram, engine::EcnMark mark = engine::EcnMark::none);

  /// A datagram for which `rule` says true never enters the link. Rules see every datagram, in order.
  void drop(Rule rule) { rules_.push_back(std::move(rule)); }
  /// An attacker on the path: what it returns arrives as well, at once and before the original.
  void meddle(Meddler meddler) { meddlers_.push_back(std::move(meddler)); }
  /// From now on, or from `at` on.
  void set_box(MarkBox box) { box_ = box; }
  void set_box_at(TimePoint at, MarkBox box);
  /// The link's settings from `at` on.
  void change_at(TimePoint at, const netem::LinkSettings& settings);

  [[nodiscard]] const netem::LinkSettings& settings() const { return link_.settings(); }
  [[nodiscard]] const netem::LinkCounters& counters() const { return link_.counters(); }
  /// What waits at the bottleneck now.
  [[nodiscard]] std::uint64_t queued_bytes() { return link_.queued_bytes(events_.now()); }
  [[nodiscard]] std::uint64_t dropped_by_rule() const { return dropped_by_rule_; }
  /// Damaged datagrams that arrive nowhere, for the box took them.
  [[nodiscard]] std::uint64_t damage_dropped_by_box() const { return damage_dropped_by_box_; }

 private:
  EventQueue& events_;
  netem::LinkModel link_;
  std::uint8_t direction_;
  TraceHash& trace_;
  std::function<void(Datagram, engine::EcnMark)> deliver_;
  MarkBox box_ = MarkBox::honest;
  std::vector<Rule> rules_;
  std::vector<Meddler> meddlers_;
  std::uint64_t index_ = 0;
  std::uint64_t dropped_by_rule_ = 0;
  std::uint64_t damage_dropped_by_box_ = 0;
};

}  // namespace penstock::sim
