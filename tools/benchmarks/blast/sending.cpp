#include "tools/benchmarks/blast/sending.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "common/crypto/nonce.h"
#include "common/random.h"
#include "dataplane/engine/wire/packet_header.h"
#include "dataplane/io/udp_socket.h"
#include "tools/benchmarks/blast/side_channel.h"
#include "tools/benchmarks/blast/slab.h"

namespace penstock::benchmarks {
namespace {

constexpr std::size_t batch_size = 64 * KiB;
constexpr std::size_t segments_max = 64;  // UDP_MAX_SEGMENTS of the kernel
// A receiver that is merely slow reports every few milliseconds.
constexpr std::chrono::milliseconds patience{200};

class Blaster {
 public:
  Blaster(const BlastSendConfig& config, UniqueFd file, std::uint64_t total, io::UdpSocket socket, SideChannel side)
      : config_(config),
        file_(std::move(file)),
        socket_(std::move(socket)),
        side_(std::move(side)),
        payload_max_(config.datagram_size - (config.aead != nullptr ? blast_overhead : 0)),
        segments_(std::clamp<std::size_t>(engine::udp_payload_limit / config.datagram_size, 1, segments_max)) {
    sent_.total = total;
    sent_.segments = segments_;
    sent_.gso = socket_.gso();
    if (config_.aead != nullptr) key_ = config_.aead->make_key(blast_key);
    const auto length = config_.to.to_sockaddr_for(socket_.family(), address_);
    PENSTOCK_CHECK(length.has_value());
    address_length_ = *length;
    // Random, though no cipher cares; and the pages of both are there before the first datagram.
    if (!file_) Rng{1}.fill({slab_.get(), blast_slab_size});
    std::fill_n(batch_.get(), batch_size, std::byte{0});
  }

  Result<BlastSent> run() {
    const BlastTerms terms{.aead = std::string{config_.aead != nullptr ? config_.aead->name() : std::string_view{}},
                           .total = sent_.total,
                           .datagram_size = config_.datagram_size,
                           .report_every = std::max<std::uint64_t>(config_.window / 4, 1)};
    if (Status told = side_.send(encode_terms(terms)); !told) return std::move(told).error();
    // Its first report: it is ready.
    if (Status heard = hear(); !heard) return std::move(heard).error();
    for (std::uint64_t base = 0; base < sent_.total; base += blast_slab_size) {
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(blast_slab_size, sent_.total - base));
      if (Status read = fill(base, length); !read) return std::move(read).error();
      if (Status left = send_slab(base, length); !left) return std::move(left).error();
    }
    const std::array<std::byte, 1> over{};
    if (Status told = side_.send(over); !told) return std::move(told).error();
    while (!sent_.end.done) {
      if (Status heard = hear(); !heard) return std::move(heard).error();
    }
    return sent_;
  }

 private:
  Status fill(std::uint64_t base, std::size_t length) {
    if (!file_) return {};
    for (std::size_t have = 0; have < length;) {
      const ssize_t got = ::pread(file_.get(), slab_.get() + have, length - have, static_cast<off_t>(base + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return error_from_errno(errno, "read", *config_.file);
      if (got == 0) return Error{ErrorCode::SOURCE_CHANGED, "the file became shorter", *config_.file};
      have += static_cast<std::size_t>(got);
    }
    return {};
  }

  Status send_slab(std::uint64_t base, std::size_t length) {
    for (std::size_t at = 0; at < length;) {
      std::size_t size = 0;
      for (std::size_t segment = 0; segment < segments_ && at < length; ++segment) {
        const std::size_t payload = std::min(payload_max_, length - at);
        if (key_) {
          size += seal(base + at, {slab_.get() + at, payload}, batch_.get() + size);
        } else {
          size += payload;  // whatever the batch holds
        }
        at += payload;
        if (payload < payload_max_) break;
      }
      if (Status open = wait_for_room(base + at); !open) return open;
      if (Status left = send_batch(size); !left) return left;
    }
    return {};
  }

  std::size_t seal(std::uint64_t offset, std::span<const std::byte> payload, std::byte* out) {
    const std::span<std::byte> header{out, engine::data_header_size};
    engine::encode_packet_header({.type = engine::PacketType::data,
                                  .connection = blast_connection,
                                  .number_low = static_cast<std::uint32_t>(number_),
                                  .offset = TransferOffset{offset}},
                                 header);
    key_->seal(crypto::packet_nonce({}, PacketNumber{number_}), header, payload, out + header.size());
    ++number_;
    return header.size() + payload.size() + crypto::aead_tag_size;
  }

  /// Until everything below `end` may be on its way.
  Status wait_for_room(std::uint64_t end) {
    if (end <= passed_ + config_.window) return {};
    ++sent_.waits;
    while (end > passed_ + config_.window) {
      const auto ready = side_.readable(patience);
      if (!ready) return ready.error();
      if (!*ready) {
        ++sent_.stalls;
        passed_ = end;
        break;
      }
      if (Status heard = hear(); !heard) return heard;
    }
    return {};
  }

  Status hear() {
    std::array<std::byte, blast_progress_size> bytes{};
    if (Status got = side_.receive(bytes); !got) return got;
    const auto progress = decode_progress(bytes);
    if (!progress) return Error{ErrorCode::IO_ERROR, "the other end is no blast's receiver"};
    sent_.end = *progress;
    passed_ = std::max(passed_, progress->passed);
    return {};
  }

  Status send_batch(std::size_t size) { return socket_.gso() ? send_segmented(size) : send_one_by_one(size); }

  Status send_segmented(std::size_t size) {
    iovec piece{.iov_base = batch_.get(), .iov_len = size};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t))> control{};
    msghdr message{};
    message.msg_name = &address_;
    message.msg_namelen = address_length_;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (size > config_.datagram_size) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_UDP;
      header->cmsg_type = UDP_SEGMENT;
      header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      std::memcpy(CMSG_DATA(header), &config_.datagram_size, sizeof config_.datagram_size);
    }
    for (;;) {
      ++sent_.calls;
      if (::sendmsg(socket_.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
      if (Status again = wait_until_writable(); !again) return again;
    }
  }

  Status send_one_by_one(std::size_t size) {
    std::array<iovec, segments_max> pieces{};
    std::array<mmsghdr, segments_max> messages{};
    unsigned count = 0;
    for (std::size_t at = 0; at < size; at += config_.datagram_size, ++count) {
      pieces[count] = {.iov_base = batch_.get() + at,
                       .iov_len = std::min<std::size_t>(config_.datagram_size, size - at)};
      messages[count].msg_hdr.msg_name = &address_;
      messages[count].msg_hdr.msg_namelen = address_length_;
      messages[count].msg_hdr.msg_iov = &pieces[count];
      messages[count].msg_hdr.msg_iovlen = 1;
    }
    for (unsigned done = 0; done < count;) {
      ++sent_.calls;
      const int taken = ::sendmmsg(socket_.fd(), messages.data() + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (taken > 0) {
        done += static_cast<unsigned>(taken);
      } else if (Status again = wait_until_writable(); !again) {
        return again;
      }
    }
    return {};
  }

  /// After a send that failed with errno.
  Status wait_until_writable() {
    if (errno == EINTR) return {};
    if (errno != EAGAIN && errno != ENOBUFS) return error_from_errno(errno, "send to", config_.to.to_string());
    ++sent_.blocked;
    pollfd watched{.fd = socket_.fd(), .events = POLLOUT, .revents = 0};
    ::poll(&watched, 1, static_cast<int>(patience.count()));
    return {};
  }

  const BlastSendConfig& config_;
  UniqueFd file_;
  io::UdpSocket socket_;
  SideChannel side_;
  std::size_t payload_max_;
  std::size_t segments_;
  std::unique_ptr<crypto::AeadKey> key_;
  sockaddr_storage address_{};
  socklen_t address_length_ = 0;
  SlabMemory slab_ = make_slab(blast_slab_size);
  SlabMemory batch_ = make_slab(batch_size);
  std::uint64_t number_ = 0;
  std::uint64_t passed_ = 0;
  BlastSent sent_;
};

}  // namespace

Result<BlastSent> send_blast(const BlastSendConfig& config) {
  UniqueFd file;
  std::uint64_t total = config.bytes;
  if (config.file) {
    file.reset(::open(config.file->c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0) return error_from_errno(errno, "open", *config.file);
    total = static_cast<std::uint64_t>(status.st_size);
  }
  if (total == 0 || total > blast_bytes_max) {
    return Error{ErrorCode::USAGE, "a blast is of 1 byte to 1 TiB"};
  }
  auto side = SideChannel::connect(config.to);
  if (!side) return side.error();
  const auto any = config.to.is_v4() ? io::Endpoint::v4({0, 0, 0, 0}, 0) : io::Endpoint::v6({}, 0);
  io::UdpSocketOptions options;
  options.gso = config.gso;
  auto socket = io::UdpSocket::bind(any, options);
  if (!socket) return socket.error();
  return Blaster{config, std::move(file), total, std::move(socket).value(), std::move(side).value()}.run();
}

}  // namespace penstock::benchmarks
