#include "control/gate/tls_channel.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/completion_condition.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/secret_bytes.h"
#include "control/gate/tcp_rtt.h"
#include "control/gate/tls_state.h"
#include "control/gate/token.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;

constexpr std::size_t record_size = std::size_t{16} * 1024 + 256;  // one TLS record of full size
constexpr std::size_t read_size = 4 * record_size;                 // with bulk each call brings several
// A reader that always finds more lets others have the thread each time it has read so much.
constexpr std::uint64_t read_turn = std::uint64_t{256} * 1024;
constexpr std::size_t drained_max = std::size_t{1024} * 1024;  // read and thrown away while closing
// A TLS alert "internal error" (RFC 8446 section 6), in the clear: how a stranger hears that we are busy.
constexpr std::array<unsigned char, 7> busy_alert{21, 3, 3, 0, 2, 2, SSL_AD_INTERNAL_ERROR};

// Of Linux 6.15; an older kernel does without. A few packets are in flight here, if any, and what hangs on
// them is somebody's wait: a repeat that is lost as well is not to wait for twice as long each time, as a bulk flow's
// must, nor for a fifth of a second more than the round trip takes.
constexpr int tcp_rto_max_ms = 44;
constexpr int tcp_rto_min_us = 45;
constexpr int rto_max_ms = 1000;  // the least that the kernel takes
constexpr int rto_max_rtts = 2;   // on a path that is longer than that
constexpr int rto_min_us = 100'000;
// The kernel's own, for a connection that carries bulk: it is to back off.
constexpr int bulk_rto_max_ms = 120'000;
constexpr int bulk_rto_min_us = 200'000;

void tune_socket(tcp::socket& socket) {
  const int fd = socket.native_handle();
  const auto set = [fd](int level, int name, int value) { (void)::setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // PROTOCOL section 1: keep-alive at 15 s or less.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  // Never so little that a packet is repeated before its acknowledgement can be here: the kernel caps what it has
  // measured by this, and each packet of a long path would go twice.
  const auto rtt = std::chrono::duration_cast<std::chrono::milliseconds>(tcp_rtt_of(socket).value_or(Duration{}));
  const auto rto_max = std::clamp<std::int64_t>(rto_max_rtts * rtt.count(), rto_max_ms, bulk_rto_max_ms);
  set(IPPROTO_TCP, tcp_rto_max_ms, static_cast<int>(rto_max));
  set(IPPROTO_TCP, tcp_rto_min_us, rto_min_us);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);  // where the kernel has it
}

Error connection_lost(const std::error_code& cause) {
  return {ErrorCode::PEER_LOST, "the connection was lost: " + cause.message()};
}

Error connection_ended() { return {ErrorCode::PEER_LOST, "the other end closed the connection"}; }

}  // namespace

enum class Side : std::uint8_t { client, daemon };

struct TlsChannel::Core : std::enable_shared_from_this<TlsChannel::Core> {
  Core(tcp::socket connected, Side which, SSL_CTX* context)
      : side(which),
        socket(std::move(connected)),
        tls(std::make_shared<TlsState>()),
        deadline(socket.get_executor()),
        wake_senders(socket.get_executor(), std::chrono::steady_clock::time_point::max()) {
    std::error_code ignored;
    remote = socket.remote_endpoint(ignored);
    local = socket.local_endpoint(ignored);
    socket.non_blocking(true, ignored);
    tune_socket(socket);
    tls->ssl.reset(SSL_new(context));
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    PENSTOCK_CHECK(tls->ssl && tls->in != nullptr && tls->out != nullptr);
    SSL_set_bio(tls->ssl.get(), tls->in, tls->out);
    if (side == Side::client) {
      SSL_set_app_data(tls->ssl.get(), &tls->judge);
      SSL_set_connect_state(tls->ssl.get());
    } else {
      SSL_set_accept_state(tls->ssl.get());
      SSL_set_options(tls->ssl.get(), SSL_OP_CLEANSE_PLAINTEXT);  // until the proof: a hello may hold a token
    }
  }

  /// The first reason counts; pending operations are woken by the closed socket.
  Error end(Error reason) {
    if (!ended) {
      ended = std::move(reason);
      deadline.cancel();
      wake_senders.cancel();
      std::error_code ignored;
      socket.close(ignored);
    }
    return *ended;
  }

  void expire_after(Duration timeout) {
    expires = true;
    const auto number = ++deadline_number;
    deadline.expires_after(timeout);
    deadline.async_wait([weak = weak_from_this(), number](std::error_code cancelled) {
      // A wait that has run out can not be cancelled any more; its number tells that it was replaced.
      const auto core = weak.lock();
      if (cancelled || !core || core->deadline_number != number) return;
      core->end({ErrorCode::TIMED_OUT, "the other end did not answer in time"});
    });
  }
  void expire_never() {
    expires = false;
    ++deadline_number;
    deadline.cancel();
  }

  [[nodiscard]] std::size_t queued() const { return outgoing.size() + in_flight; }

  /// Moves what OpenSSL wants to say to the queue and sees that somebody writes it.
  void flush() {
    tls->take_output(outgoing);
    if (outgoing.empty() || writing || ended) return;
    writing = true;
    asio::co_spawn(socket.get_executor(), write_queue(shared_from_this()), asio::detached);
  }

  static asio::awaitable<void> write_queue(std::shared_ptr<Core> core) {
    while (!core->outgoing.empty() && !core->ended) {
      const std::string batch = std::exchange(core->outgoing, {});
      core->in_flight = batch.size();
      std::error_code failed;
      // A batch may be megabytes: counted as it goes, for taken_bytes.
      const auto count = [core, before = core->written](const std::error_code& error, std::size_t done) {
        core->written = before + done;
        return asio::transfer_all()(error, done);
      };
      co_await asio::async_write(core->socket, asio::buffer(batch), count,
                                 asio::redirect_error(asio::use_awaitable, failed));
      core->in_flight = 0;
      if (failed) core->end(connection_lost(failed));
      core->wake_senders.cancel();
    }
    core->writing = false;
    core->wake_senders.cancel();
  }

  asio::awaitable<void> wait_for_writer() {
    std::error_code woken;  // always "cancelled"
    co_await wake_senders.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }

  /// Bytes from the socket into OpenSSL's hands.
  asio::awaitable<Status> read_more() {
    if (ended) co_return *ended;
    if (received >= yield_at) {
      yield_at = received + read_turn;
      co_await asio::post(socket.get_executor(), asio::use_awaitable);
      if (ended) co_return *ended;
    }
    std::error_code failed = read_now();
    while (failed == asio::error::would_block) {
      co_await socket.async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, failed));
      if (ended) co_return *ended;
      if (!failed) failed = read_now();
    }
    if (failed == asio::error::eof) co_return end(connection_ended());
    if (failed) co_return end(connection_lost(failed));
    // PROTOCOL section 1: 64 KiB in all before the client is proven. Reading happens only when no whole message is at
    // hand, so what a client pipelines behind its proof is not counted.
    if (side == Side::daemon && !proven && received > unproven_bytes_max)
      co_return end(stranger("more than 64 KiB before its proof"));
    co_return Status{};
  }

  /// What the socket has at this moment, would_block if that is nothing. The buffer is in no coroutine's frame, where
  /// a thousand idle channels would each keep one.
  std::error_code read_now() {
    std::array<std::byte, read_size> buffer;
    std::error_code failed;
    // Before the proof what came is judged after each record, so that no more is taken in than is allowed.
    const std::size_t got = socket.read_some(asio::buffer(buffer.data(), proven ? read_size : record_size), failed);
    if (failed) return failed;
    received += got;
    tls->give_input(std::span{buffer}.first(got));
    return {};
  }

  /// OpenSSL's verdict on the next record; its plaintext goes to the decoder. No coroutine, for the same reason.
  int decrypt_some() {
    std::array<std::byte, record_size> plain;
    ERR_clear_error();
    std::size_t got = 0;
    const int done = SSL_read_ex(tls->ssl.get(), plain.data(), plain.size(), &got);
    const int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl.get(), done);
    if (error == SSL_ERROR_NONE) decoder.feed(std::span{plain}.first(got));
    if (side == Side::daemon && !proven) crypto::wipe(std::span{plain}.first(got));  // a hello may hold a token
    return error;
  }

  asio::awaitable<Status> handshake(HandshakeExecutor* signer);
  asio::awaitable<Result<Frame>> receive();

  const Side side;
  tcp::socket socket;
  std::shared_ptr<TlsState> tls;
  asio::steady_timer deadline;
  asio::steady_timer wake_senders;  // never runs out; cancelled to wake who waits for the queue, or for the last frame
  std::uint64_t deadline_number = 0;
  bool expires = false;
  tcp::endpoint remote;
  tcp::endpoint local;
  FrameDecoder decoder;
  std::string outgoing;  // ciphertext not yet given to the socket
  std::size_t in_flight = 0;
  bool writing = false;
  bool receiving = false;
  bool proven = false;
  bool clean_end = false;
  std::uint64_t received = 0;
  std::uint64_t written = 0;  // by write_queue, to the kernel
  std::uint64_t yield_at = read_turn;
  std::optional<Error> ended;
};

asio::awaitable<Status> TlsChannel::Core::handshake(HandshakeExecutor* signer) {
  for (bool first = true;; first = false) {
    // Named: g++ 12 destroys a temporary's captures twice when it is converted inside a co_await expression.
    std::function<void()> step = [state = tls] { state->step(); };
    if (signer != nullptr && !first) {
      co_await signer->async_go_on(std::move(step));  // an alert in the clear would only be damage by now
    } else if (signer != nullptr) {
      auto ran = co_await signer->async_run(std::move(step));
      if (!ran) {
        std::error_code ignored;
        socket.write_some(asio::buffer(busy_alert), ignored);  // 7 bytes into an empty socket buffer
        co_return end(ran.error());
      }
    } else {
      step();
    }
    if (ended) co_return *ended;

    // A client's Finished waits for its hello, which follows at once: one packet that can be lost instead of two.
    const bool says_more = side == Side::client && tls->error == SSL_ERROR_NONE;
    std::string out;
    tls->take_output(says_more ? outgoing : out);
    if (!out.empty()) {  // the alert of a failed handshake too: it helps those who speak TLS
      std::error_code failed;
      co_await asio::async_write(socket, asio::buffer(out), asio::redirect_error(asio::use_awaitable, failed));
      if (ended) co_return *ended;
      if (failed && tls->error != SSL_ERROR_SSL) co_return end(connection_lost(failed));
    }
    if (tls->error == SSL_ERROR_NONE) break;
    if (tls->error != SSL_ERROR_WANT_READ)
      co_return end(side == Side::client ? client_failure(*tls) : daemon_failure(*tls));

    if (auto more = co_await read_more(); !more) {
      if (more.error().code != ErrorCode::PEER_LOST || received != 0) co_return more.error();
      ended = side == Side::client ? hung_up(tls->judge.trust) : stranger("nothing was said");
      co_return *ended;
    }
  }

  const unsigned char* name = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(tls->ssl.get(), &name, &length);
  if (std::string_view{reinterpret_cast<const char*>(name), length} != alpn_name) {
    co_return end(side == Side::client
                      ? not_penstock(tls->judge.trust.name(), "it speaks TLS for something else; check the port")
                      : stranger("TLS without ALPN"));
  }
  // Nothing to resume from is ever handed out; should a peer find a way, it does not get past this.
  if (SSL_session_reused(tls->ssl.get()) != 0) co_return end(stranger("a resumed TLS session"));
  co_return Status{};
}

asio::awaitable<Result<Frame>> TlsChannel::Core::receive() {
  for (;;) {
    if (ended) co_return *ended;
    auto frame = decoder.poll();
    if (!frame) {
      const ErrorCode code = proven ? ErrorCode::INTERNAL : ErrorCode::NOT_PENSTOCK;
      co_return end({code, "the other end sent " + std::string{to_string(frame.error())}, {}, ErrorSide::remote});
    }
    if (*frame) co_return **std::move(frame);

    const int error = decrypt_some();
    flush();  // answers to key updates
    if (error == SSL_ERROR_NONE) continue;
    if (error == SSL_ERROR_ZERO_RETURN) {
      clean_end = !decoder.mid_message();
      co_return end(connection_ended());
    } else if (error == SSL_ERROR_WANT_READ) {
      // A peer that asks and asks without reading the answers is not read from either.
      while (queued() > send_queue_max && !ended) co_await wait_for_writer();
      if (auto more = co_await read_more(); !more) co_return more.error();
    } else {
      co_return end({ErrorCode::PEER_LOST, "the connection was damaged: " + take_openssl_error()});
    }
  }
}

TlsChannel::TlsChannel(std::shared_ptr<Core> core) : core_(std::move(core)) {}
TlsChannel::TlsChannel(TlsChannel&&) noexcept = default;
TlsChannel& TlsChannel::operator=(TlsChannel&& other) noexcept {
  if (this != &other) {
    if (core_) abort();
    core_ = std::move(other.core_);
  }
  return *this;
}
TlsChannel::~TlsChannel() {
  if (core_) abort();
}

asio::awaitable<Result<TlsChannel>> TlsChannel::async_connect(tcp::socket socket, const TlsContext& context,
                                                              TrustBasis trust, Duration timeout) {
  auto core = std::make_shared<Core>(std::move(socket), Side::client, context.get());
  core->tls->judge.trust = std::move(trust);
  core->expire_after(timeout);
  if (auto shaken = co_await core->handshake(nullptr); !shaken) co_return shaken.error();
  core->expire_never();
  co_return TlsChannel{std::move(core)};
}

asio::awaitable<Result<TlsChannel>> TlsChannel::async_accept(tcp::socket socket, const TlsContext& context,
                                                             HandshakeExecutor& signer, Duration timeout) {
  auto core = std::make_shared<Core>(std::move(socket), Side::daemon, context.get());
  core->expire_after(timeout);
  // Nothing of the signer's time for who says nothing: it gets the first bytes, not the connection.
  if (auto more = co_await core->read_more(); !more) {
    if (more.error().code == ErrorCode::PEER_LOST) co_return stranger("nothing was said");
    co_return more.error();
  }
  if (auto shaken = co_await core->handshake(&signer); !shaken) co_return shaken.error();
  co_return TlsChannel{std::move(core)};
}

asio::awaitable<Result<Frame>> TlsChannel::async_receive() {
  const auto core = core_;
  PENSTOCK_CHECK(!core->receiving);
  core->receiving = true;
  auto frame = co_await core->receive();
  core->receiving = false;
  core->wake_senders.cancel();  // async_close waits for this
  co_return frame;
}

asio::awaitable<Status> TlsChannel::async_send(const proto::Envelope& envelope) {
  // Encoded before the first suspension: the caller's envelope need not live longer than the call itself.
  return async_send_frame(encode_frame(envelope));
}

asio::awaitable<Status> TlsChannel::async_send_frame(std::string frame) {
  const auto core = core_;
  ERR_clear_error();
  std::size_t written = 0;
  const int done = core->ended ? 0 : SSL_write_ex(core->tls->ssl.get(), frame.data(), frame.size(), &written);
  if (!core->proven) wipe_text(frame);  // a hello may hold a token
  if (core->ended) co_return *core->ended;
  if (done != 1) co_return core->end({ErrorCode::PEER_LOST, "the connection was damaged: " + take_openssl_error()});
  core->flush();
  while (core->queued() > send_queue_max && !core->ended) co_await core->wait_for_writer();
  if (core->ended) co_return *core->ended;
  co_return Status{};
}

std::size_t TlsChannel::send_queue_bytes() const { return core_->queued(); }

asio::awaitable<Status> TlsChannel::async_drained_to(std::size_t bytes) {
  const auto core = core_;
  while (core->queued() > bytes && !core->ended) co_await core->wait_for_writer();
  if (core->ended) co_return *core->ended;
  co_return Status{};
}

void TlsChannel::set_unsent_max(std::size_t bytes) {
  const int value = static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max()));
  // A kernel that has it not lets control wait longer; nothing breaks.
  if (core_->ended) return;
  const int fd = core_->socket.native_handle();
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
  (void)::setsockopt(fd, IPPROTO_TCP, tcp_rto_max_ms, &bulk_rto_max_ms, sizeof bulk_rto_max_ms);
  (void)::setsockopt(fd, IPPROTO_TCP, tcp_rto_min_us, &bulk_rto_min_us, sizeof bulk_rto_min_us);
}

std::uint64_t TlsChannel::received_bytes() const { return core_->received; }

std::uint64_t TlsChannel::taken_bytes() const {
  int unacknowledged = 0;
  if (core_->ended || ::ioctl(core_->socket.native_handle(), SIOCOUTQ, &unacknowledged) != 0) return 0;
  const auto held = static_cast<std::uint64_t>(std::max(unacknowledged, 0));
  return core_->written - std::min(core_->written, held);
}

void TlsChannel::set_proven() {
  core_->proven = true;
  SSL_clear_options(core_->tls->ssl.get(), SSL_OP_CLEANSE_PLAINTEXT);  // bulk is to pay for none of that
  core_->decoder.set_proven();
}
void TlsChannel::expire_after(Duration timeout) {
  if (!core_->ended) core_->expire_after(timeout);
}
void TlsChannel::expire_never() { core_->expire_never(); }
bool TlsChannel::expires() const { return core_->expires; }

std::array<std::byte, 32> TlsChannel::exporter(std::string_view label) const {
  std::array<std::byte, 32> out{};
  PENSTOCK_CHECK(SSL_export_keying_material(core_->tls->ssl.get(), reinterpret_cast<unsigned char*>(out.data()),
                                            out.size(), label.data(), label.size(), nullptr, 0, 0) == 1);
  return out;
}

std::span<const std::byte> TlsChannel::peer_spki() const { return core_->tls->judge.spki; }
const Pin& TlsChannel::peer_pin() const { return core_->tls->judge.pin; }
const tcp::endpoint& TlsChannel::remote() const { return core_->remote; }
const tcp::endpoint& TlsChannel::local() const { return core_->local; }
asio::any_io_executor TlsChannel::executor() const { return core_->socket.get_executor(); }
bool TlsChannel::ended_cleanly() const { return core_->clean_end; }

std::optional<Duration> TlsChannel::smoothed_rtt() const {
  return core_->ended ? std::nullopt : tcp_rtt_of(core_->socket);
}

asio::awaitable<void> TlsChannel::async_close(Duration linger, PeerEnd peer_end) {
  const auto core = core_;
  if (core->ended) co_return;
  core->expire_after(linger);
  ERR_clear_error();
  SSL_shutdown(core->tls->ssl.get());
  core->flush();
  while (core->queued() > 0 && !core->ended) co_await core->wait_for_writer();
  std::error_code failed;
  if (!core->ended) core->socket.shutdown(tcp::socket::shutdown_send, failed);
  if (peer_end == PeerEnd::unawaited) {
    core->end({ErrorCode::CANCELLED, "the connection was closed at this end"});
    co_return;
  }
  // Unread bytes at close would make the kernel reset the connection, and what we just said might never be read: so the
  // peer's end is waited for, here or by the coroutine that is still in async_receive.
  while (!core->ended && !failed && core->receiving) co_await core->wait_for_writer();
  std::array<std::byte, record_size> thrown_away;
  std::size_t drained = 0;
  while (!core->ended && !failed && drained < drained_max) {
    drained += co_await core->socket.async_read_some(asio::buffer(thrown_away),
                                                     asio::redirect_error(asio::use_awaitable, failed));
  }
  core->end({ErrorCode::CANCELLED, "the connection was closed at this end"});
}

void TlsChannel::abort(Error reason) { core_->end(std::move(reason)); }

}  // namespace penstock::control
