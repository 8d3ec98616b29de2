#include "netem/emulator/net_interface.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace penstock::netem {
namespace {

/// A request under construction: header, fixed part, attributes, each padded to four bytes (RFC 3549 section 2.3.2).
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) {
    append(nlmsghdr{.nlmsg_len = 0,
                    .nlmsg_type = type,
                    .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags),
                    .nlmsg_seq = 0,
                    .nlmsg_pid = 0});
  }
  template <class T>
  void append(const T& value) {
    append_bytes(&value, sizeof value);
  }
  template <class T>
  void attribute(std::uint16_t type, const T& value) {
    attribute_bytes(type, &value, sizeof value);
  }
  void attribute_bytes(std::uint16_t type, const void* data, std::size_t size) {
    append(rtattr{.rta_len = static_cast<std::uint16_t>(sizeof(rtattr) + size), .rta_type = type});
    append_bytes(data, size);
  }
  /// Everything until end_nest is inside.
  std::size_t begin_nest(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    append(rtattr{.rta_len = 0, .rta_type = static_cast<std::uint16_t>(type | NLA_F_NESTED)});
    return at;
  }
  void end_nest(std::size_t at) {
    const auto size = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at + offsetof(rtattr, rta_len), &size, sizeof size);
  }
  std::span<const std::byte> finish() {
    const auto size = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &size, sizeof size);
    return bytes_;
  }

 private:
  void append_bytes(const void* data, std::size_t size) {
    const auto* const first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
  }
  std::vector<std::byte> bytes_;
};

/// The kernel's answer: its type and what follows its header.
struct Answer {
  std::uint16_t type = 0;
  std::vector<std::byte> body;
};

/// One request, one answer; an error answer other than "done" is the errno value.
Result<Answer, int> ask(int netlink, Request request) {
  const auto message = request.finish();
  if (send(netlink, message.data(), message.size(), 0) < 0) return errno;
  std::vector<std::byte> buffer(32 * 1024);
  ssize_t size = 0;
  do {
    size = recv(netlink, buffer.data(), buffer.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno;
  nlmsghdr header{};
  if (static_cast<std::size_t>(size) < sizeof header) return EPROTO;
  std::memcpy(&header, buffer.data(), sizeof header);
  if (header.nlmsg_len < sizeof header || header.nlmsg_len > static_cast<std::size_t>(size)) return EPROTO;
  Answer answer{
      .type = header.nlmsg_type,
      .body = {buffer.begin() + sizeof header, buffer.begin() + static_cast<std::ptrdiff_t>(header.nlmsg_len)}};
  if (answer.type == NLMSG_ERROR) {
    int error = 0;
    if (answer.body.size() < sizeof error) return EPROTO;
    std::memcpy(&error, answer.body.data(), sizeof error);
    if (error != 0) return -error;
  }
  return answer;
}

Error cannot(std::string_view what, int reason) {
  return {ErrorCode::IO_ERROR, fmt::format("cannot {}: {}", what, std::strerror(reason))};
}

ifinfomsg link_header(std::uint32_t index, unsigned flags, unsigned change) {
  ifinfomsg link{};
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = static_cast<int>(index);
  link.ifi_flags = flags;
  link.ifi_change = change;
  return link;
}

/// The payload of the first attribute of `type`.
std::optional<std::span<const std::byte>> find_attribute(std::span<const std::byte> attributes, std::uint16_t type) {
  while (attributes.size() >= sizeof(rtattr)) {
    rtattr header{};
    std::memcpy(&header, attributes.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > attributes.size()) return std::nullopt;
    if (header.rta_type == type) return attributes.subspan(sizeof header, header.rta_len - sizeof header);
    attributes =
        attributes.subspan(std::min<std::size_t>((header.rta_len + std::size_t{3}) / 4 * 4, attributes.size()));
  }
  return std::nullopt;
}

}  // namespace

Result<NetInterface> NetInterface::find(const std::string& device) {
  UniqueFd netlink{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
  if (!netlink) return cannot("open a netlink socket", errno);
  const unsigned index = if_nametoindex(device.c_str());
  if (index == 0) return cannot(fmt::format("find the device {}", device), errno);
  return NetInterface{std::move(netlink), index};
}

Status NetInterface::configure(std::uint32_t mtu, std::uint32_t queue_packets) {
  Request request{RTM_NEWLINK, NLM_F_ACK};
  request.append(link_header(index_, 0, 0));
  request.attribute(IFLA_MTU, mtu);
  request.attribute(IFLA_TXQLEN, queue_packets);
  if (const auto answer = ask(netlink_.get(), std::move(request)); !answer) {
    return cannot(fmt::format("set the MTU {} and the queue of {} packets of the device", mtu, queue_packets),
                  answer.error());
  }
  Request quiet{RTM_NEWLINK, NLM_F_ACK};
  quiet.append(link_header(index_, 0, 0));
  const std::size_t families = quiet.begin_nest(IFLA_AF_SPEC);
  const std::size_t v6 = quiet.begin_nest(AF_INET6);
  quiet.attribute(IFLA_INET6_ADDR_GEN_MODE, std::uint8_t{IN6_ADDR_GEN_MODE_NONE});
  quiet.end_nest(v6);
  quiet.end_nest(families);
  // A kernel without IPv6 refuses this, and needs no quietening.
  static_cast<void>(ask(netlink_.get(), std::move(quiet)).ok());
  return {};
}

Status NetInterface::add(const InterfaceAddress& address) {
  Request request{RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL};
  ifaddrmsg header{};
  header.ifa_family = address.is_v4 ? AF_INET : AF_INET6;
  header.ifa_prefixlen = address.prefix_length;
  header.ifa_flags = IFA_F_NODAD;  // nobody else can have it, and a tentative address could not be used at once
  header.ifa_index = index_;
  request.append(header);
  const std::size_t skipped = address.is_v4 ? 12 : 0;
  for (const std::uint16_t type : {IFA_LOCAL, IFA_ADDRESS}) {
    request.attribute_bytes(type, address.address.data() + skipped, address.address.size() - skipped);
  }
  if (const auto answer = ask(netlink_.get(), std::move(request)); !answer) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(header.ifa_family, address.address.data() + skipped, text.data(), text.size());
    return cannot(fmt::format("give the device the address {}", text.data()), answer.error());
  }
  return {};
}

Status NetInterface::bring_up() {
  Request request{RTM_NEWLINK, NLM_F_ACK};
  request.append(link_header(index_, IFF_UP, IFF_UP));
  if (const auto answer = ask(netlink_.get(), std::move(request)); !answer) {
    return cannot("bring the device up", answer.error());
  }
  return {};
}

Result<std::uint64_t> NetInterface::tx_dropped() {
  Request request{RTM_GETLINK, 0};
  request.append(link_header(index_, 0, 0));
  const auto answer = ask(netlink_.get(), std::move(request));
  if (!answer) return cannot("read the counters of the device", answer.error());
  if (answer->type == RTM_NEWLINK && answer->body.size() >= sizeof(ifinfomsg)) {
    const auto stats = find_attribute(std::span{answer->body}.subspan(sizeof(ifinfomsg)), IFLA_STATS64);
    if (stats && stats->size() >= offsetof(rtnl_link_stats64, tx_dropped) + sizeof(std::uint64_t)) {
      std::uint64_t dropped = 0;
      std::memcpy(&dropped, stats->data() + offsetof(rtnl_link_stats64, tx_dropped), sizeof dropped);
      return dropped;
    }
  }
  return cannot("read the counters of the device", EPROTO);
}

}  // namespace penstock::netem
