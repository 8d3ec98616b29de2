#pragma once

#include <array>
#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "control/gate/framing.h"
#include "control/gate/handshake_executor.h"
#include "control/gate/pin.h"
#include "control/gate/pin_policy.h"
#include "control/gate/tls_context.h"

namespace penstock::control {

// Tuning: ours alone.
inline constexpr Duration gate_timeout = std::chrono::seconds{10};           // PROTOCOL section 1: from accept to proof
inline constexpr std::size_t send_queue_max = std::size_t{4} * 1024 * 1024;  // ciphertext waiting for the socket

/// The control channel: messages over TLS 1.3 over one TCP connection.
/// OpenSSL works on memory, so that the handshake's signature can run on another thread than the socket's.
/// Threads: every member is called on the socket's executor, which runs one handler at a time (one thread, or a
/// strand). Several coroutines may send; one at a time receives.
/// Lifetime: the object may be moved; it must not be destroyed while a coroutine is inside async_receive or
/// async_send: call abort() and let them return first. Destroying it closes the socket at once.
/// Errors that end the channel are final: every later call repeats the first one. PEER_LOST when the connection broke
/// or ended, TIMED_OUT at the deadline, CANCELLED after abort() without a reason.
class TlsChannel {
 public:
  /// Client: handshake on a connected socket. The daemon's key is judged by `trust` as soon as it is shown, before
  /// anything but the TLS hello is sent. Errors: those of judge_daemon; NOT_PENSTOCK (plain text, HTTP, another TLS, no
  /// ALPN); TIMED_OUT; PEER_LOST. `timeout` covers this handshake.
  static asio::awaitable<Result<TlsChannel>> async_connect(asio::ip::tcp::socket socket, const TlsContext& context,
                                                           TrustBasis trust, Duration timeout = gate_timeout);
  /// Daemon: handshake on an accepted socket. Starts the deadline of `timeout`, which goes on running until
  /// expire_never(): 10 s from accept to proof. Errors: NOT_PENSTOCK (the caller closes, counts and logs; the peer is
  /// told nothing but TLS's alert), SERVER_BUSY, TIMED_OUT, PEER_LOST.
  static asio::awaitable<Result<TlsChannel>> async_accept(asio::ip::tcp::socket socket, const TlsContext& context,
                                                          HandshakeExecutor& signer, Duration timeout = gate_timeout);
  TlsChannel(TlsChannel&&) noexcept;
  TlsChannel& operator=(TlsChannel&&) noexcept;
  ~TlsChannel();

  /// The next message. Reads from the socket only when no whole message is at hand.
  /// A peer that breaks the framing ends the channel: NOT_PENSTOCK before the proofs, INTERNAL after, side remote.
  asio::awaitable<Result<Frame>> async_receive();
  /// Queues one message, in the order of the calls; returns once the queue is within send_queue_max (backpressure), not
  /// when the peer has it.
  asio::awaitable<Status> async_send(const proto::Envelope& envelope);
  /// The same for a message already encoded by encode_frame, such as those of key_exchange.h.
  asio::awaitable<Status> async_send_frame(std::string frame);
  /// Bytes of ciphertext queued and not yet taken by the kernel.
  [[nodiscard]] std::size_t send_queue_bytes() const;
  /// Until send_queue_bytes() is at most so many, or the channel has ended.
  asio::awaitable<Status> async_drained_to(std::size_t bytes);
  /// From here on bulk goes by this channel. The kernel takes no more while it has so many bytes that it has not sent
  /// yet (TCP_NOTSENT_LOWAT), so that what is sent later does not wait behind a whole window, and its time-outs back
  /// off.
  void set_unsent_max(std::size_t bytes);
  /// Bytes that have come from the peer so far, whole messages or not.
  [[nodiscard]] std::uint64_t received_bytes() const;

  /// Bytes of ciphertext that the peer's system has acknowledged so far, as far as is known here: what it says a moment
  /// later may be less, never more than is true.
  [[nodiscard]] std::uint64_t taken_bytes() const;

  /// The peer is proven: messages of up to 1 MiB are accepted from here on.
  void set_proven();
  /// Ends the channel with TIMED_OUT in `timeout` from now; replaces the deadline before.
  void expire_after(Duration timeout);
  void expire_never();
  [[nodiscard]] bool expires() const;

  /// 32 bytes of TLS keying material (RFC 8446 section 7.5) for a label, without context. Never sent.
  [[nodiscard]] std::array<std::byte, 32> exporter(std::string_view label) const;
  /// Client side: the daemon's key as shown and judged. Daemon side: empty (clients show no certificate).
  [[nodiscard]] std::span<const std::byte> peer_spki() const;
  [[nodiscard]] const Pin& peer_pin() const;
  [[nodiscard]] const asio::ip::tcp::endpoint& remote() const;
  [[nodiscard]] const asio::ip::tcp::endpoint& local() const;
  /// The kernel's smoothed RTT of the TCP connection.
  [[nodiscard]] std::optional<Duration> smoothed_rtt() const;
  [[nodiscard]] asio::any_io_executor executor() const;

  /// Orderly end: sends what is queued and close_notify, at most `linger`; then closes.
  /// Whether closing waits for the peer to close as well. Unawaited saves a round trip; the system still delivers what
  /// was sent, unless the peer says something more meanwhile and a packet of ours is lost.
  enum class PeerEnd : std::uint8_t { awaited, unawaited };
  asio::awaitable<void> async_close(Duration linger = std::chrono::seconds{2}, PeerEnd peer_end = PeerEnd::awaited);
  /// Ends the channel now: whoever waits in it gets `reason`.
  void abort(Error reason = {ErrorCode::CANCELLED, "the connection was closed at this end"});
  /// The peer ended with close_notify between two messages.
  [[nodiscard]] bool ended_cleanly() const;

 private:
  struct Core;
  explicit TlsChannel(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;  // shared with the writer and a handshake job that may outlive this object
};

}  // namespace penstock::control
