#include "dataplane/io/receive_queue.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace penstock::io {

struct ReceiveQueue::Slot {
  iovec piece{};
  sockaddr_in6 address{};
  // Arrival address, run's segment size, drop counter, mark: each with its header.
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo)) +
                                             3 * CMSG_SPACE(sizeof(std::uint32_t))> control{};
};

ReceiveQueue::ReceiveQueue(const UdpSocket& socket)
    : socket_(socket),
      wanted_(socket.gro() ? messages_gro_min : messages_plain),
      slots_(socket.gro() ? messages_gro_max : messages_plain),
      headers_(slots_.size()) {
  memory_ = std::make_unique_for_overwrite<std::byte[]>(slots_.size() * message_size_max);
  runs_.reserve(slots_.size());
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].piece = {.iov_base = memory_.get() + i * message_size_max, .iov_len = message_size_max};
  }
}

ReceiveQueue::~ReceiveQueue() = default;

std::span<ReceivedRun> ReceiveQueue::receive() {
  runs_.clear();
  for (std::size_t i = 0; i < wanted_; ++i) {
    // The kernel writes lengths into the headers, so they are set anew for every call.
    msghdr& header = headers_[i].msg_hdr;
    header.msg_name = &slots_[i].address;
    header.msg_namelen = sizeof slots_[i].address;
    header.msg_iov = &slots_[i].piece;
    header.msg_iovlen = 1;
    header.msg_control = slots_[i].control.data();
    header.msg_controllen = slots_[i].control.size();
    header.msg_flags = 0;
  }
  int count = 0;
  do {
    count = socket_.calls().receive(socket_.fd(), headers_.data(), static_cast<unsigned>(wanted_));
  } while (count < 0 && errno == EINTR);
  // EAGAIN, or a passing trouble such as ENOMEM: the socket stays readable and is asked again next turn.
  saturated_ = count == static_cast<int>(wanted_);
  std::size_t bytes = 0;
  for (std::size_t i = 0; static_cast<int>(i) < count; ++i) {
    const msghdr& header = headers_[i].msg_hdr;
    const std::size_t size = headers_[i].msg_len;
    bytes += size;
    const auto from =
        Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&slots_[i].address), header.msg_namelen);
    ReceivedRun run;
    run.bytes = {static_cast<std::byte*>(slots_[i].piece.iov_base), size};
    run.segment_size = size;
    decode_control(header, run);
    if (size == 0 || !from || (header.msg_flags & MSG_TRUNC) != 0) {
      ++unusable_;
      continue;
    }
    run.from = *from;
    runs_.push_back(run);
  }
  if (count > 0) note_sizes(static_cast<std::size_t>(count), bytes);
  return runs_;
}

void ReceiveQueue::note_sizes(std::size_t messages, std::size_t bytes) {
  if (!socket_.gro()) return;
  const std::size_t mean = std::max<std::size_t>(1, bytes / messages);
  wanted_ = std::clamp(bytes_wanted / mean, messages_gro_min, messages_gro_max);
}

void ReceiveQueue::decode_control(const msghdr& header, ReceivedRun& run) {
  // CMSG_NXTHDR takes a mutable header; it changes nothing.
  auto& mutable_header = const_cast<msghdr&>(header);
  for (const cmsghdr* message = CMSG_FIRSTHDR(&mutable_header); message != nullptr;
       message = CMSG_NXTHDR(&mutable_header, const_cast<cmsghdr*>(message))) {
    const auto read = [&](auto& value) {
      if (message->cmsg_len < CMSG_LEN(sizeof value)) return false;
      std::memcpy(&value, CMSG_DATA(message), sizeof value);
      return true;
    };
    if (message->cmsg_level == SOL_UDP && message->cmsg_type == UDP_GRO) {
      int segment_size = 0;
      if (read(segment_size) && segment_size > 0 && static_cast<std::size_t>(segment_size) < run.bytes.size()) {
        run.segment_size = static_cast<std::size_t>(segment_size);
      }
    } else if (message->cmsg_level == SOL_SOCKET && message->cmsg_type == SO_RXQ_OVFL) {
      std::uint32_t total = 0;
      if (read(total)) on_overflow_total(total);
    } else if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_TOS) {
      std::uint8_t tos = 0;  // a byte here, though an int on the way out: ip(7)
      if (read(tos)) run.mark = static_cast<engine::EcnMark>(tos & 3U);
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_TCLASS) {
      int traffic_class = 0;
      if (read(traffic_class)) run.mark = static_cast<engine::EcnMark>(static_cast<unsigned>(traffic_class) & 3U);
    } else if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      if (!read(info)) continue;
      // ipi_spec_dst: the address an answer leaves from, which differs from the header's for broadcasts.
      std::array<std::uint8_t, 4> address{};
      std::memcpy(address.data(), &info.ipi_spec_dst, address.size());
      run.to = LocalAddress{Endpoint::v4(address, 0), static_cast<std::uint32_t>(info.ipi_ifindex)};
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      if (!read(info)) continue;
      std::array<std::uint8_t, 16> address{};
      std::memcpy(address.data(), &info.ipi6_addr, address.size());
      run.to = LocalAddress{Endpoint::v6(address, 0, info.ipi6_ifindex), info.ipi6_ifindex};
    }
  }
}

void ReceiveQueue::on_overflow_total(std::uint32_t total) {
  socket_drops_ += static_cast<std::uint32_t>(total - overflow_total_);  // modulo 2^32, so a wrap counts rightly
  overflow_total_ = total;
}

}  // namespace penstock::io
