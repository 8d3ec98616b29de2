#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "common/crypto/aead.h"
#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"

namespace penstock::engine::test {

using namespace std::chrono_literals;

/// Both ends' keys of one lane, the same on each call with the same `seed`.
struct PairKeys {
  LaneKeys sender;
  LaneKeys receiver;
};
PairKeys make_keys(std::uint8_t seed = 1, const crypto::AeadBackend* backend = nullptr);
inline constexpr ConnectionId sender_id{0x1111111111111111};
inline constexpr ConnectionId receiver_id{0x2222222222222222};

/// All bytes in one vector; slabs in `absent` are not resident until they are brought in.
class VectorSource final : public SourceWindow {
 public:
  explicit VectorSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void prefetch(TransferRange) override {}
  void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  std::map<std::uint64_t, bool> absent;  // by slab index
  std::size_t calls = 0;

 private:
  std::vector<std::byte> bytes_;
};

/// All bytes in one vector. Slabs open on the first store; `room_limit` bytes are taken at most.
class VectorSink final : public SinkWindow {
 public:
  explicit VectorSink(std::size_t size) : bytes_(size), taken_(size) {}
  std::span<std::byte> lend(TransferOffset at, std::size_t length) override;
  void commit(TransferOffset at, std::size_t length) override;
  bool store(TransferOffset at, std::span<const std::byte> bytes) override;
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void retain(std::uint64_t bytes) override { retained = bytes; }
  std::uint64_t room() const override { return room_limit > held_ ? room_limit - held_ : 0; }
  void on_quiet() override {}

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  /// Bytes were handed over that were taken before: a fault of the receiver.
  [[nodiscard]] std::uint64_t overwritten() const { return overwritten_; }
  void drain(std::uint64_t bytes) { room_limit += bytes; }
  void forget(TransferRange range);
  std::uint64_t room_limit = 1 * GiB;
  std::uint64_t retained = 0;

 private:
  void take(TransferOffset at, std::size_t length);
  std::vector<std::byte> bytes_;
  std::vector<bool> taken_;
  std::map<std::uint64_t, bool> open_slabs_;
  std::uint64_t held_ = 0;
  std::uint64_t overwritten_ = 0;
};

/// A sender and a receiver joined by two pipes of equal delay in virtual time. The fate of each datagram is asked for.
class Pair {
 public:
  struct Options {
    SenderConfig sender{};
    ReceiverConfig receiver{};
    Duration one_way = 5ms;
    std::uint64_t size = 1 * MiB;
    std::uint64_t seed = 1;
    const crypto::AeadBackend* backend = nullptr;
  };
  enum class Fate { deliver, drop, duplicate, corrupt };
  using Judge = std::function<Fate(std::span<const std::byte> datagram, TimePoint now)>;

  explicit Pair(const Options& options);

  Sender sender;
  Receiver receiver;
  VectorSource source;
  VectorSink sink;
  Judge forward = [](auto, auto) { return Fate::deliver; };
  Judge backward = [](auto, auto) { return Fate::deliver; };
  /// What the sender proposes is agreed to, in a round trip.
  bool agrees_to_repair = true;
  /// What an event brings; recorded when not set.
  std::function<void(const SenderEvent&)> on_sender_event;
  std::function<void(const ReceiverEvent&)> on_receiver_event;

  /// Opens both paths, offers all, and runs until both ends have told that all arrived.
  bool transfer(Duration limit = 60s);
  void open();
  void offer_all();
  /// Runs until `done`, or `limit` of virtual time has passed, or nothing is left to happen.
  bool run_until(const std::function<bool()>& done, Duration limit = 60s);
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] bool sender_drained() const { return sender_drained_; }
  [[nodiscard]] bool receiver_drained() const { return receiver_drained_; }
  /// A repair round begins.
  void forget_drained() { sender_drained_ = receiver_drained_ = false; }

  std::vector<std::vector<std::byte>> to_sender_control;
  std::vector<std::vector<std::byte>> to_receiver_control;
  std::vector<Closed> sender_closed;
  std::vector<Closed> receiver_closed;
  std::vector<Prefetch> prefetches;
  std::uint64_t datagrams_forward = 0;
  std::uint64_t datagrams_backward = 0;

 private:
  struct InFlight {
    TimePoint at;
    std::vector<std::byte> bytes;
  };
  void pump();
  void put(std::deque<InFlight>& pipe, const Judge& judge, std::span<const std::byte> batch, std::size_t segment);

  Options options_;
  TimePoint now_{};
  Rng rng_;
  std::deque<InFlight> forward_pipe_;
  std::deque<InFlight> backward_pipe_;
  std::deque<std::pair<TimePoint, RepairRatio>> to_receiver_ratio_;
  std::deque<std::pair<TimePoint, RepairRatio>> to_sender_ratio_;
  std::vector<std::byte> buffer_;
  bool sender_drained_ = false;
  bool receiver_drained_ = false;
};

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size);

}  // namespace penstock::engine::test
