#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "dataplane/engine/congestion/pacer.h"
#include "dataplane/engine/fec/calm_watch.h"
#include "dataplane/engine/fec/loss_meter.h"
#include "dataplane/engine/fec/repair_book.h"
#include "dataplane/engine/lane/lane_core.h"
#include "dataplane/engine/lane/limit_meter.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "dataplane/engine/sender.h"
#include "dataplane/engine/stream/stream_flight.h"

namespace penstock::engine {

inline constexpr std::size_t data_overhead = data_header_size + crypto::aead_tag_size;
inline constexpr std::size_t batch_segments_max = 64;  // UDP_MAX_SEGMENTS of Linux

/// What holds a sender back whose scheduler has nothing for it.
SenderLimit limit_of(RangeScheduler::Blocked blocked);

/// What a Sender is made of. Private to sender.cpp, which sends datagrams, sender_repair.cpp, which puts repair between
/// them, and sender_stream.cpp, the other way.
/// Threads: the Sender's.
struct Sender::Parts {
  Parts(const SenderConfig& settings, LaneKeys keys, Rng& rng);

  std::size_t ip_overhead;
  LaneCore lane;
  RangeScheduler scheduler;
  Fec fec;
  RepairBook book;
  CalmWatch calm;
  LossMeter loss;
  RepairRatio proposed;
  std::optional<TimePoint> proposed_at;
  bool proposal_due = false;
  bool finished = false;
  std::vector<TransferRange> repeats;  // of take_news; keeps its memory
  DeliveryNews news;
  std::deque<Prefetch> prefetches;
  bool announced = true;                             // Drained told of the present state
  SenderLimit limit = SenderLimit::nothing_to_send;  // at the last poll
  LimitMeter limits;
  std::optional<TimePoint> pacing_at;
  std::optional<TimePoint> persist_at;
  std::uint32_t persist_backoff = 0;
  bool by_stream = false;
  StreamFlight stream;
  std::optional<Pacer> stream_pacer;     // with a rate
  std::optional<TimePoint> stream_at;    // the stream's pacer, or a pause after a refusal
  std::optional<TimePoint> stream_rest;  // no message before

  void take_news(TimePoint now);
  /// Something was settled: perhaps all is.
  void note_tail(TimePoint now);
  void propose_ratio(TimePoint now);
  std::optional<StreamChunk> poll_stream(TimePoint now, SourceWindow& window, std::size_t length_max);
  std::optional<Transmit> poll_probe(TimePoint now, SourceWindow& window, std::span<std::byte> buffer);
  std::optional<Transmit> poll_data(TimePoint now, SourceWindow& window, std::span<std::byte> buffer);
  std::optional<Transmit> poll_tail_copies(TimePoint now, SourceWindow& window, std::span<std::byte> buffer);
  /// What may leave of a batch that is being put together.
  struct Room {
    std::uint64_t allowance;
    std::uint64_t paced;
    std::size_t segments_max;
  };
  bool fill_with_repair(TimePoint now, SourceWindow& window, std::span<std::byte> buffer, Room room, Transmit& out,
                        std::size_t& segments);
  void on_blocked(TimePoint now);
};

}  // namespace penstock::engine
