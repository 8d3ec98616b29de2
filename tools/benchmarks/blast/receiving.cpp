#include "tools/benchmarks/blast/receiving.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/crypto/aead.h"
#include "common/crypto/nonce.h"
#include "dataplane/engine/wire/packet_header.h"
#include "dataplane/io/udp_socket.h"
#include "tools/benchmarks/blast/side_channel.h"
#include "tools/benchmarks/blast/slab.h"

namespace penstock::benchmarks {
namespace {

constexpr std::size_t message_size = 64 * KiB;
// As many as ReceiveQueue takes at once, for its reasons; without GRO a message is one datagram.
constexpr std::size_t messages_gro = 4;
constexpr std::size_t messages_plain = 64;
constexpr int silence_ms = 100;

class Catcher {
 public:
  Catcher(const BlastReceiveConfig& config, const BlastTerms& terms, std::unique_ptr<crypto::AeadKey> key,
          UniqueFd file, io::UdpSocket& socket, SideChannel& side)
      : config_(config),
        key_(std::move(key)),
        file_(std::move(file)),
        socket_(socket),
        side_(side),
        messages_(socket.gro() ? messages_gro : messages_plain),
        memory_(make_slab(messages_ * message_size)) {
    out_.terms = terms;
    out_.receive_buffer = socket.receive_buffer();
    out_.gro = socket.gro();
    for (std::size_t i = 0; i < messages_; ++i) {
      pieces_[i] = {.iov_base = memory_.get() + i * message_size, .iov_len = message_size};
      headers_[i].msg_hdr.msg_iov = &pieces_[i];
      headers_[i].msg_hdr.msg_iovlen = 1;
      headers_[i].msg_hdr.msg_control = controls_[i].bytes.data();
    }
  }

  Result<BlastReceived> run() {
    if (Status told = tell(); !told) return std::move(told).error();  // ready
    while (out_.end.arrived < out_.terms.total) {
      const auto more = take();
      if (!more) return more.error();
      if (*more) continue;
      const auto goes_on = wait();
      if (!goes_on) return goes_on.error();
      if (!*goes_on) break;
    }
    if (Status written = write_run(); !written) return std::move(written).error();
    file_.reset();
    out_.end.done = true;
    if (Status told = tell(); !told) return std::move(told).error();
    return out_;
  }

 private:
  /// One system call's worth. False: nothing waits.
  Result<bool> take() {
    for (std::size_t i = 0; i < messages_; ++i) headers_[i].msg_hdr.msg_controllen = controls_[i].bytes.size();
    const int count =
        ::recvmmsg(socket_.fd(), headers_.data(), static_cast<unsigned>(messages_), MSG_DONTWAIT, nullptr);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
    if (count < 0) return error_from_errno(errno, "receive from", socket_.local().to_string());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      const std::size_t segment = read_control(headers_[i]);
      ++out_.runs;
      if (Status taken = take_run({memory_.get() + i * message_size, headers_[i].msg_len}, segment); !taken) {
        return std::move(taken).error();
      }
    }
    if (out_.end.passed - told_ >= out_.terms.report_every) {
      if (Status told = tell(); !told) return std::move(told).error();
    }
    return true;
  }

  /// The size of a run's segments; notes the socket's drops on the way.
  std::size_t read_control(mmsghdr& message) {
    std::size_t segment = message.msg_len;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message.msg_hdr); part != nullptr; part = CMSG_NXTHDR(&message.msg_hdr, part)) {
      if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_GRO) {
        int size = 0;
        std::memcpy(&size, CMSG_DATA(part), sizeof size);
        if (size > 0) segment = static_cast<std::size_t>(size);
      } else if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_RXQ_OVFL) {
        std::uint32_t drops = 0;
        std::memcpy(&drops, CMSG_DATA(part), sizeof drops);
        out_.end.socket_drops = drops;
      }
    }
    return segment;
  }

  Status take_run(std::span<const std::byte> run, std::size_t segment) {
    for (; !run.empty(); run = run.subspan(std::min(segment, run.size()))) {
      const auto datagram = run.first(std::min(segment, run.size()));
      ++out_.datagrams;
      if (!key_) {
        note(out_.end.passed, datagram.size());
      } else if (Status taken = take_sealed(datagram); !taken) {
        return taken;
      }
    }
    return {};
  }

  Status take_sealed(std::span<const std::byte> datagram) {
    const auto header = engine::decode_packet_header(datagram);
    if (!header || header->type != engine::PacketType::data || header->connection != blast_connection) {
      ++out_.unusable;
      return {};
    }
    const std::size_t payload = datagram.size() - blast_overhead;
    const std::uint64_t offset = header->offset.value;
    const std::uint64_t place = offset % blast_slab_size;
    if (offset + payload > out_.terms.total || place + payload > blast_slab_size) {
      ++out_.unusable;
      return {};
    }
    if (offset != run_end_) {
      if (Status written = write_run(); !written) return written;
      run_begin_ = run_end_ = offset;
    }
    if (!key_->open(crypto::packet_nonce({}, PacketNumber{header->number_low}),
                    datagram.first(engine::data_header_size), datagram.subspan(engine::data_header_size),
                    slab_.get() + place)) {
      ++out_.unusable;
      return {};
    }
    run_end_ += payload;
    note(offset, payload);
    if (run_end_ % blast_slab_size == 0) return write_run();
    return {};
  }

  void note(std::uint64_t offset, std::size_t size) {
    out_.end.passed = std::min(std::max(out_.end.passed, offset + size), out_.terms.total);
    out_.end.arrived = std::min(out_.end.arrived + size, out_.end.passed);
  }

  Status write_run() {
    const std::uint64_t begin = std::exchange(run_begin_, run_end_);
    if (!file_ || begin == run_end_) return {};
    ++out_.writes;
    for (std::uint64_t at = begin; at < run_end_;) {
      const ssize_t wrote =
          ::pwrite(file_.get(), slab_.get() + at % blast_slab_size, run_end_ - at, static_cast<off_t>(at));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return error_from_errno(errno, "write", *config_.file);
      at += static_cast<std::uint64_t>(wrote);
    }
    return {};
  }

  /// Until there is something to take. False: the sender has ended and nothing came for a while.
  Result<bool> wait() {
    std::array<pollfd, 2> watched{{{.fd = socket_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = ended_ ? -1 : side_.fd(), .events = POLLIN, .revents = 0}}};
    const int ready = ::poll(watched.data(), watched.size(), ended_ ? silence_ms : -1);
    if (ready < 0 && errno != EINTR) return error_from_errno(errno, "wait for datagrams", {});
    if (ready == 0) return false;
    if (ready > 0 && watched[1].revents != 0) {
      std::array<std::byte, 1> over{};
      if (Status heard = side_.receive(over); !heard) return std::move(heard).error();
      ended_ = true;
    }
    return true;
  }

  Status tell() {
    told_ = out_.end.passed;
    return side_.send(encode_progress(out_.end));
  }

  struct Control {
    alignas(cmsghdr) std::array<std::byte, 2 * CMSG_SPACE(sizeof(int))> bytes;
  };
  const BlastReceiveConfig& config_;
  std::unique_ptr<crypto::AeadKey> key_;  // null: in the clear
  UniqueFd file_;
  io::UdpSocket& socket_;
  SideChannel& side_;
  std::size_t messages_;
  SlabMemory memory_;
  SlabMemory slab_ = make_slab(blast_slab_size);
  std::array<iovec, messages_plain> pieces_{};
  std::array<mmsghdr, messages_plain> headers_{};
  std::array<Control, messages_plain> controls_{};
  std::uint64_t run_begin_ = 0;  // opened into the slab and not yet written
  std::uint64_t run_end_ = 0;
  std::uint64_t told_ = 0;
  bool ended_ = false;
  BlastReceived out_;
};

Result<BlastTerms> hear_terms(SideChannel& side) {
  std::array<std::byte, blast_terms_size> bytes{};
  if (Status got = side.receive(bytes); !got) return std::move(got).error();
  auto terms = decode_terms(bytes);
  if (!terms) return Error{ErrorCode::IO_ERROR, "what connected is no blast's sender, or of another version"};
  return std::move(terms).value();
}

}  // namespace

Result<BlastReceived> receive_blast(const BlastReceiveConfig& config,
                                    const std::function<void(const io::Endpoint&)>& announce) {
  UniqueFd file;
  if (config.file) {
    file.reset(::open(config.file->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return error_from_errno(errno, "make", *config.file);
  }
  UniqueFd listener;
  io::UdpSocketOptions options;
  options.gro = config.gro;
  auto socket = io::bind_with_companion(config.listen, options, [&](const io::Endpoint& bound) {
    auto tcp = SideChannel::listen(bound);
    if (tcp) listener = std::move(tcp).value();
    return static_cast<bool>(listener);
  });
  if (!socket) return socket.error();
  if (!listener) {  // a port that was asked for by number
    auto tcp = SideChannel::listen(socket->local());
    if (!tcp) return tcp.error();
    listener = std::move(tcp).value();
  }
  announce(socket->local());
  auto side = SideChannel::accept(listener);
  if (!side) return side.error();
  const auto terms = hear_terms(*side);
  if (!terms) return terms.error();
  std::unique_ptr<crypto::AeadKey> key;
  if (!terms->aead.empty()) {
    const crypto::AeadBackend* const backend = crypto::aead_backend_named(terms->aead);
    if (backend == nullptr) return Error{ErrorCode::USAGE, "this machine has no AEAD backend " + terms->aead};
    key = backend->make_key(blast_key);
  } else if (file) {
    return Error{ErrorCode::USAGE, "a blast in the clear carries no file: leave out --into"};
  }
  return Catcher{config, *terms, std::move(key), std::move(file), *socket, *side}.run();
}

}  // namespace penstock::benchmarks
