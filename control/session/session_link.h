#pragma once

#include <array>
#include <asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "common/result.h"
#include "common/time.h"
#include "control/gate/tls_channel.h"
#include "control/session/async_event.h"
#include "control/session/data_pace.h"
#include "control/session/silence_meter.h"

namespace penstock::control {

// Specification (PROTOCOL section 1, "Life of a session").
inline constexpr Duration silence_max = std::chrono::seconds{5};
inline constexpr Duration ping_interval = std::chrono::seconds{2};
// Tuning: what may wait for TCP. The transfer stops producing at the first, nothing of ours ever reaches the second.
inline constexpr Duration orderly_end_max = std::chrono::seconds{3};
inline constexpr std::size_t pings_remembered = 16;  // an answer to an older one says nothing
inline constexpr Duration ping_pause = std::chrono::milliseconds{500};
inline constexpr std::size_t link_queue_soft_max = std::size_t{512} * 1024;
// Tuning: what may wait for the socket before an answer is added to it: what a peer that asks and hardly reads keeps of
// our memory, and one answer. Less: bulk (DataPace) would hold up answers, and the socket could run dry between two.
inline constexpr std::size_t answers_waiting_max = std::size_t{512} * 1024;
static_assert(answers_waiting_max > DataPace::ahead_most + engine::stream_payload_usual);

/// One proven control channel in use: sends what is queued, hands on what arrives, pings, and notices silence.
/// Lifetime: shared, because its coroutines outlive whoever gave it up. Threads: the channel's executor.
class SessionLink : public std::enable_shared_from_this<SessionLink> {
 public:
  /// Called for each message but Ping and Pong, in order, one at a time; an error ends the link with that error.
  using Handler = std::function<asio::awaitable<Status>(proto::Envelope)>;

  /// `silence`: what is called PEER_LOST.
  static std::shared_ptr<SessionLink> make(TlsChannel channel, Duration silence = silence_max);

  /// Runs until the channel ends, then returns why; never success without end(). PEER_LOST after `silence` without a
  /// byte of the peer and without note_heard(); while async_room() waits nothing is read, and what counts instead is
  /// that the peer takes what it was sent. Once.
  asio::awaitable<Status> async_run(Handler handler);

  /// Queues a message. Nothing happens once the link has ended.
  void send(proto::Envelope envelope);
  /// Queues bulk, a frame of encode_data_frame: every message goes before it, for it is encrypted only when little
  /// before it waits for the kernel. `lane` is for on_data_written. Bound: the caller's, by on_data_written.
  void send_data(std::size_t lane, std::string frame);
  /// So many bytes of that lane's frames have left the queue.
  std::function<void(std::size_t lane, std::size_t bytes)> on_data_written;
  /// How large a frame may be without holding up the messages after it: less where the connection is slow. Threads:
  /// any.
  [[nodiscard]] std::size_t data_frame_max() const { return data_pace_.frame_max(); }
  [[nodiscard]] bool has_room() const { return queued_bytes_ < link_queue_soft_max; }
  /// Until the peer has taken all but answers_waiting_max of what it was sent, or the link has ended. Before a request
  /// is taken up that is answered: a handler that waits here reads no more of a peer that asks without reading, which
  /// ends the link when it goes on (async_run).
  asio::awaitable<void> async_room();
  /// Notified when has_room() may have become true.
  [[nodiscard]] AsyncEvent& room() { return room_; }
  /// An authentic datagram of the peer arrived: the session lives.
  void note_heard() { silence_.on_heard(std::chrono::steady_clock::now()); }
  /// Ends the link: async_run returns `reason`; success means an orderly end, after what is queued was sent, for which
  /// a peer that does not read has `orderly_max`.
  void end(Status reason, Duration orderly_max = orderly_end_max,
           TlsChannel::PeerEnd peer_end = TlsChannel::PeerEnd::awaited);
  [[nodiscard]] bool ended() const { return outcome_.has_value(); }
  [[nodiscard]] std::optional<Duration> ping_rtt() const { return ping_rtt_; }
  /// Sends a ping beside those that are sent anyway, unless one left within the last half second.
  void ping();
  /// When the newest ping was sent that was answered.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> answered_ping_sent() const {
    return answered_sent_;
  }
  /// One round trip on the control channel, measured now.
  asio::awaitable<Result<Duration>> async_ping();

  [[nodiscard]] TlsChannel& channel() { return channel_; }

 private:
  SessionLink(TlsChannel channel, Duration silence);
  asio::awaitable<void> read_loop(Handler handler);
  asio::awaitable<void> write_loop();
  asio::awaitable<void> data_loop();
  void send_ping();
  asio::awaitable<void> watch_loop();
  [[nodiscard]] bool may_answer() const;
  /// Signs of life that are no messages.
  void look_for_life(std::chrono::steady_clock::time_point now);

  TlsChannel channel_;
  AsyncEvent outgoing_;
  AsyncEvent bulk_;
  AsyncEvent room_;
  AsyncEvent tick_;
  AsyncEvent done_;
  AsyncEvent pong_;
  std::deque<std::string> queue_;
  std::size_t queued_bytes_ = 0;
  struct Bulk {
    std::size_t lane = 0;
    std::string frame;
  };
  std::deque<Bulk> data_;
  DataPace data_pace_;
  unsigned running_ = 0;
  bool reading_ = false;        // silence counts only while we listen
  unsigned awaiting_room_ = 0;  // or wait for the peer to listen
  const Duration silence_max_;
  SilenceMeter silence_;
  std::array<std::chrono::steady_clock::time_point, pings_remembered> ping_sent_{};  // by number
  std::optional<std::chrono::steady_clock::time_point> answered_sent_;
  std::optional<Duration> ping_rtt_;
  std::uint64_t pings_ = 0;
  std::uint64_t pong_seen_ = 0;
  std::uint64_t bytes_seen_ = 0;
  std::uint64_t taken_seen_ = 0;
  std::optional<Status> outcome_;
  TlsChannel::PeerEnd peer_end_ = TlsChannel::PeerEnd::awaited;
};

}  // namespace penstock::control
