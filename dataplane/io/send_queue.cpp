#include "dataplane/io/send_queue.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/check.h"

namespace penstock::io {
namespace {

static_assert(SendQueue::arena_size >= engine::udp_payload_limit);
constexpr std::size_t cache_line = 64;

constexpr std::size_t datagrams_in(std::size_t size, std::size_t segment_size) {
  return (size + segment_size - 1) / segment_size;
}

}  // namespace

SendQueue::SendQueue(const UdpSocket& socket)
    : socket_(socket), gso_(socket.gso()), arena_(std::make_unique_for_overwrite<std::byte[]>(arena_size)) {
  pending_.reserve(messages_max);
}

std::span<std::byte> SendQueue::room() {
  if (blocked_ || pending_.size() == messages_max) return {};
  if (arena_size - arena_used_ < engine::udp_payload_limit) return {};
  return {arena_.get() + arena_used_, arena_size - arena_used_};
}

void SendQueue::push(const Path& path, const engine::Transmit& batch) {
  PENSTOCK_CHECK(batch.size > 0 && batch.segment_size > 0 && batch.size <= arena_size - arena_used_);
  PENSTOCK_CHECK(pending_.size() < messages_max);
  Message& message = pending_.emplace_back();
  message.begin = arena_used_;
  message.size = batch.size;
  message.segment_size = std::min(batch.segment_size, batch.size);
  message.whole = message.size == message.segment_size || gso_allowed(path.peer);
  message.peer = path.peer;
  const auto length = path.peer.to_sockaddr_for(socket_.family(), message.address);
  PENSTOCK_CHECK(length.has_value());
  message.address_length = *length;
  encode_control(message, path, batch.mark);
  arena_used_ += (batch.size + cache_line - 1) / cache_line * cache_line;
  arena_used_ = std::min(arena_used_, arena_size);
}

bool SendQueue::worth_flushing() const { return arena_used_ >= flush_threshold; }

bool SendQueue::flush() {
  blocked_ = false;
  while (first_ < pending_.size()) {
    const std::size_t count = build_entries();
    const int taken = socket_.calls().send(socket_.fd(), headers_.data(), static_cast<unsigned>(count));
    if (taken > 0) {
      on_entries_sent(static_cast<std::size_t>(taken));
    } else if (taken < 0 && errno == EINTR) {
      continue;
    } else if (taken == 0 || errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked_ = true;
      ++counters_.blocked;
      return false;
    } else {
      on_first_entry_refused(errno);
    }
  }
  pending_.clear();
  first_ = 0;
  arena_used_ = 0;
  return true;
}

void SendQueue::encode_control(Message& message, const Path& path, engine::EcnMark mark) {
  std::size_t used = 0;
  const auto append = [&](int level, int type, const auto& value) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof value);
    header.cmsg_level = level;
    header.cmsg_type = type;
    PENSTOCK_CHECK(used + CMSG_SPACE(sizeof value) <= message.control.size());
    std::memcpy(message.control.data() + used, &header, sizeof header);
    std::memcpy(message.control.data() + used + CMSG_LEN(0), &value, sizeof value);
    used += CMSG_SPACE(sizeof value);
  };
  message.control.fill(std::byte{0});
  // The segment size comes last, so that it can be cut off when the batch goes datagram by datagram.
  if (path.from) {
    if (path.peer.is_v4()) {
      // An AF_INET6 socket hands mapped peers to the IPv4 code, which reads the IPv4 form.
      if (path.from->address.is_v4()) {
        in_pktinfo info{};
        const auto& mapped = path.from->address.bytes();
        std::memcpy(&info.ipi_spec_dst, mapped.data() + mapped.size() - sizeof info.ipi_spec_dst,
                    sizeof info.ipi_spec_dst);
        append(IPPROTO_IP, IP_PKTINFO, info);
      }
    } else if (!path.from->address.is_v4()) {
      in6_pktinfo info{};
      std::memcpy(&info.ipi6_addr, path.from->address.bytes().data(), sizeof info.ipi6_addr);
      info.ipi6_ifindex = path.from->address.is_link_local() ? path.from->interface : 0;
      append(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
  }
  if (mark != engine::EcnMark::none) {
    const int tos = static_cast<int>(mark);
    if (path.peer.is_v4())
      append(IPPROTO_IP, IP_TOS, tos);
    else
      append(IPPROTO_IPV6, IPV6_TCLASS, tos);
  }
  message.control_length = used;
  if (message.size > message.segment_size) {
    append(SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(message.segment_size));
  }
}

/// Fills the system call's arrays from the messages at the front. Returns the number of entries.
std::size_t SendQueue::build_entries() {
  std::size_t count = 0;
  const auto add = [&](std::size_t index, std::size_t offset, std::size_t size, bool segmented) {
    Message& message = pending_[index];
    entries_[count] = {.message = index, .size = size};
    pieces_[count] = {.iov_base = arena_.get() + message.begin + offset, .iov_len = size};
    const std::size_t control = message.control_length + (segmented ? CMSG_SPACE(sizeof(std::uint16_t)) : 0);
    msghdr& header = headers_[count].msg_hdr;
    header = {};
    header.msg_name = &message.address;
    header.msg_namelen = message.address_length;
    header.msg_iov = &pieces_[count];
    header.msg_iovlen = 1;
    header.msg_control = control == 0 ? nullptr : message.control.data();
    header.msg_controllen = control;
    ++count;
  };
  for (std::size_t index = first_; index < pending_.size() && count < messages_max; ++index) {
    const Message& message = pending_[index];
    if (message.whole) {
      add(index, 0, message.size, message.size > message.segment_size);
      continue;
    }
    for (std::size_t at = message.sent; at < message.size && count < messages_max; at += message.segment_size) {
      add(index, at, std::min(message.segment_size, message.size - at), false);
    }
  }
  return count;
}

void SendQueue::on_entries_sent(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    Message& message = pending_[entries_[i].message];
    message.sent += entries_[i].size;
    counters_.datagrams += datagrams_in(entries_[i].size, message.segment_size);
    ++counters_.batches;
    if (message.suspect) {
      message.suspect = false;
      on_gso_refused(message.peer);
    }
  }
  drop_finished();
}

void SendQueue::on_first_entry_refused(int error) {
  Message& message = pending_[entries_[0].message];
  const bool gso_may_be_the_reason = error == EIO || error == EINVAL || error == EMSGSIZE;
  if (message.whole && message.size > message.segment_size && gso_may_be_the_reason) {
    message.whole = false;
    message.suspect = true;
    return;
  }
  message.sent += entries_[0].size;
  counters_.refused += datagrams_in(entries_[0].size, message.segment_size);
  drop_finished();
}

void SendQueue::on_gso_refused(const Endpoint& peer) {
  if (!gso_allowed(peer)) return;
  ++counters_.gso_fallbacks;
  if (gso_off_.size() == gso_off_max) {
    gso_ = false;
    gso_off_.clear();
  } else {
    gso_off_.push_back(peer);
  }
  for (std::size_t index = first_; index < pending_.size(); ++index) {
    Message& message = pending_[index];
    if (message.sent == 0 && message.size > message.segment_size) message.whole = gso_allowed(message.peer);
  }
}

bool SendQueue::gso_allowed(const Endpoint& peer) const {
  return gso_ && std::find(gso_off_.begin(), gso_off_.end(), peer) == gso_off_.end();
}

void SendQueue::drop_finished() {
  while (first_ < pending_.size() && pending_[first_].sent == pending_[first_].size) ++first_;
}

}  // namespace penstock::io
