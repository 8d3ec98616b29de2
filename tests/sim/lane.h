#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/crypto/aead.h"
#include "common/digest/digest.h"
#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/host.h"
#include "tests/sim/memory_sink.h"
#include "tests/sim/memory_source.h"
#include "tests/sim/pipe.h"
#include "tests/sim/repair_tap.h"
#include "tests/sim/session_message.h"

namespace penstock::sim {

/// The client's address changes: what is sent to the old one is lost from then on.
struct Move {
  Duration after{0};  // from the start of the lane
  engine::AddressChange change = engine::AddressChange::port;
};

/// One transfer: how many bytes, and what happens around them.
struct LanePlan {
  std::uint64_t bytes = 0;
  bool pull = false;  // the daemon sends; the client says hello
  Duration start_after{0};
  std::uint32_t offers = 1;  // the manifest grows in so many steps
  Duration offer_gap{0};
  std::vector<TransferRange> held = {};                  // here from an earlier run; ascending, disjoint
  bool source_knows_held = true;                         // false: it learns by message, perhaps after having sent them
  std::vector<std::vector<TransferRange>> repairs = {};  // what each repair round finds damaged
  std::uint32_t messages = 0;  // control messages in the pipe, each way, beside the session's own
  Duration message_gap{0};
  std::size_t message_size_max = 4000;
  std::vector<Move> moves = {};  // ascending
  bool taps_repair = false;      // reads the repair frames on their way
};

/// The engines' side of a scenario: equal for all its lanes.
struct EngineOptions {
  engine::SenderConfig sender = {};
  engine::ReceiverConfig receiver = {};
  SourceOptions source = {};
  SinkOptions sink = {};
  const crypto::AeadBackend* backend = nullptr;
  Duration tcp_delay{0};  // of a message that the pipe's control queue had no room for
};

struct Fingerprint {
  std::uint64_t size = 0;
  digest::Xxh3 hash;
  bool operator==(const Fingerprint&) const = default;
};

/// What an engine did on the wire that it never may. All zero, always.
struct WireViolations {
  std::uint64_t numbers_reused = 0;   // a packet number not above the last one of its direction
  std::uint64_t oversized = 0;        // a datagram above udp_payload_size
  std::uint64_t slabs_crossed = 0;    // DATA across a multiple of slab_size
  std::uint64_t beyond_offer = 0;     // DATA past what was offered
  std::uint64_t credit_exceeded = 0;  // more distinct bytes than the receiver can ever have granted
  bool operator==(const WireViolations&) const = default;
};

/// Everything forbidden that happened, in words; empty when nothing did.
[[nodiscard]] std::string to_string(const SinkViolations& violations);
[[nodiscard]] std::string to_string(const WireViolations& violations);

struct LaneOutcome {
  Fingerprint sent;
  Fingerprint received;
  bool complete = false;                   // received, written, and both ends know
  std::optional<TimePoint> finished_at;    // last byte written, last repair round over
  std::optional<TimePoint> confirmed_at;   // the source heard of it
  std::optional<TimePoint> first_byte_at;  // first DATA sent
  engine::LaneStats sender;
  engine::LaneStats receiver;
  std::optional<engine::Closed> sender_closed;
  std::optional<engine::Closed> receiver_closed;
  SinkViolations sink_violations;
  WireViolations wire_violations;
  std::uint64_t messages_delivered = 0;  // fillers, both ways
  std::uint64_t messages_wrong = 0;      // lost, repeated, reordered or changed
  std::uint64_t stores_refused = 0;
  std::uint64_t sent_to_spoofed = 0;  // bytes of the daemon's, to an address that an attacker made up
  std::uint64_t came_from_spoofed = 0;
  std::vector<SeenRepair> repairs_seen;  // with taps_repair
  std::vector<SeenRatio> ratios_agreed;  // as the sender learnt of it
  std::string failure;                   // why the simulator gave up on an engine; empty: it did not
};

/// A sender and a receiver with their drivers, windows and the little of a session that the engines need: the manifest
/// grows, held ranges are withheld, repair rounds happen, the end is confirmed.
class Lane {
 public:
  /// Borrowed for life: everything that is a reference. `to_receiver` and `to_sender` are the network.
  Lane(EventQueue& events, const EngineOptions& options, LanePlan plan, Rng& luck, Host& sender_host,
       Host& receiver_host, Pipe& to_receiver, Pipe& to_sender);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] bool is_complete() const { return finished_at_ && confirmed_at_; }
  /// Complete, or closed by an engine, or given up.
  [[nodiscard]] bool is_over() const;
  [[nodiscard]] LaneOutcome outcome() const;
  [[nodiscard]] ConnectionId sender_id() const { return sender_end_.own_id; }
  [[nodiscard]] ConnectionId receiver_id() const { return receiver_end_.own_id; }
  [[nodiscard]] const LanePlan& plan() const { return plan_; }
  /// The next arrival at the daemon of this datagram of the client's seems to come from somewhere else.
  void spoof(std::uint32_t number) { spoofed_.insert(number); }

 private:
  struct SenderEnd final : Endpoint {
    SenderEnd(Lane& owner, engine::Sender made, ConnectionId id, const Host& host)
        : lane(owner), engine(std::move(made)), own_id(id), wakeup(owner.events_, host, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override;
    void turn() override;
    void handle(engine::SenderEvent event);
    void handle(const SessionMessage& message);

    Lane& lane;
    engine::Sender engine;
    ConnectionId own_id;
    Wakeup wakeup;
    MessageChecker fillers;
    std::optional<engine::Closed> closed;
  };
  struct ReceiverEnd final : Endpoint {
    ReceiverEnd(Lane& owner, engine::Receiver made, ConnectionId id, const Host& host)
        : lane(owner), engine(std::move(made)), own_id(id), wakeup(owner.events_, host, [this] { turn(); }) {}
    void receive(std::span<std::byte> batch, std::size_t segment_size, engine::EcnMark mark) override;
    void turn() override;
    void handle(engine::ReceiverEvent event);
    void handle(const SessionMessage& message);
    void watch_for_quiet();

    Lane& lane;
    engine::Receiver engine;
    ConnectionId own_id;
    Wakeup wakeup;
    MessageChecker fillers;
    std::optional<engine::Closed> closed;
    TransferOffset expected;
    bool manifest_complete = false;
    bool drained = false;
    TimePoint last_receive;
    bool quiet_scheduled = false;
  };
  struct Secrets;

  Lane(EventQueue& events, const EngineOptions& options, LanePlan plan, Secrets secrets, Rng& luck, Host& sender_host,
       Host& receiver_host, Pipe& to_receiver, Pipe& to_sender);
  void start();
  void offer(std::uint32_t step);
  enum class Source : std::uint8_t { sender, receiver };
  void send_filler(Source from);
  void say_to_receiver(const SessionMessage& message);
  void say_to_sender(const SessionMessage& message);
  void after_writing();
  void confirm_if_all_said();
  void watch_data(const Sighting& sighting);
  void fail(std::string_view why);
  enum class Side : std::uint8_t { client, daemon };
  void transmit(const engine::Transmit& batch, std::size_t datagram_max, Pipe& pipe, Side from);
  /// What a driver does with addresses, at the daemon: the client has named it, and never doubts that.
  template <class Engine>
  void follow(Engine& engine, const engine::BatchOutcome& outcome, std::span<const std::byte> batch);
  /// The client's addresses are numbered; those that an attacker makes up lie beyond.
  [[nodiscard]] std::size_t address_of(std::span<const std::byte> datagram);

  EventQueue& events_;
  EngineOptions options_;
  LanePlan plan_;
  Rng luck_;
  std::vector<std::byte> truth_;
  MemorySource source_;
  MemorySink sink_;
  Pipe& to_receiver_;
  Pipe& to_sender_;
  std::vector<std::byte> buffer_;
  SenderEnd sender_end_;
  ReceiverEnd receiver_end_;
  std::size_t repair_round_ = 0;
  std::uint32_t fillers_sent_ = 0;  // each way
  bool done_said_ = false;
  std::uint64_t offered_ = 0;
  bytes::IntervalSet sent_distinct_;
  std::uint64_t credit_bound_;
  std::uint64_t held_unknown_ = 0;  // held bytes that the source may send all the same: their credit is given back
  std::optional<std::uint32_t> last_number_to_receiver_;
  std::optional<std::uint32_t> last_number_to_sender_;
  std::vector<std::uint32_t> moved_at_;  // the client's next packet number at each of its moves
  std::set<std::uint32_t> spoofed_;
  std::size_t client_address_ = 0;  // as the daemon has it
  std::optional<std::size_t> client_proposed_;
  std::uint64_t sent_to_spoofed_ = 0;
  std::uint64_t came_from_spoofed_ = 0;
  WireViolations wire_violations_;
  std::optional<TimePoint> first_byte_at_;
  std::optional<TimePoint> finished_at_;
  std::optional<TimePoint> confirmed_at_;
  std::optional<RepairTap> tap_;
  std::vector<SeenRepair> repairs_seen_;
  std::vector<SeenRatio> ratios_agreed_;
  std::string failure_;
};

}  // namespace penstock::sim
