#include "netem/udp_relay/udp_relay.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>

#include "netem/link_counters_json.h"
#include "netem/monotonic_now.h"

namespace penstock::netem {

/// One client as the target sees it.
struct Flow {
  SocketAddress client;
  UniqueFd upstream;  // connected to the target
  TimePoint last_used{};
  std::uint64_t drops = 0;  // SO_RXQ_OVFL, a running total
};

namespace {

constexpr std::size_t batch_max = 32;
constexpr std::size_t datagram_max = 65536;
constexpr int batches_per_turn = 16;  // then the timer gets its turn: a flood must not hold back what is due
constexpr std::size_t flows_max = 1024;
constexpr std::uint64_t in_flight_bytes_max = 256 * MiB;
constexpr int socket_buffer_bytes = 32 * 1024 * 1024;  // a burst of a second at 256 Mbit/s

Error failed(std::string_view what) {
  const int reason = errno;
  return {ErrorCode::IO_ERROR, fmt::format("cannot {}: {}", what, std::strerror(reason))};
}

Result<UniqueFd> udp_socket(int family) {
  UniqueFd fd{socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd) return failed("open a UDP socket");
  // Beyond net.core.rmem_max where we may, up to it where not: a shallow buffer loses more than the link was told to.
  const int size = socket_buffer_bytes;
  for (const auto& [force, polite] : {std::pair{SO_RCVBUFFORCE, SO_RCVBUF}, std::pair{SO_SNDBUFFORCE, SO_SNDBUF}}) {
    if (setsockopt(fd.get(), SOL_SOCKET, force, &size, sizeof size) != 0) {
      setsockopt(fd.get(), SOL_SOCKET, polite, &size, sizeof size);
    }
  }
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
  return fd;
}

bool watch(int epoll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

/// Room for one recvmmsg.
struct UdpRelay::Inbox {
  struct Slot {
    std::array<std::byte, datagram_max> bytes;
    sockaddr_storage from;
    alignas(cmsghdr) std::array<std::byte, 64> control;
  };
  std::vector<Slot> slots{batch_max};
  std::array<mmsghdr, batch_max> headers{};
  std::array<iovec, batch_max> vectors{};

  /// How many datagrams came; none when the socket is empty. `drops` becomes the kernel's running total.
  std::size_t receive(int fd, std::uint64_t& drops) {
    for (std::size_t i = 0; i < batch_max; ++i) {
      vectors[i] = {slots[i].bytes.data(), slots[i].bytes.size()};
      headers[i].msg_hdr = {.msg_name = &slots[i].from,
                            .msg_namelen = sizeof slots[i].from,
                            .msg_iov = &vectors[i],
                            .msg_iovlen = 1,
                            .msg_control = slots[i].control.data(),
                            .msg_controllen = slots[i].control.size(),
                            .msg_flags = 0};
    }
    const int count = recvmmsg(fd, headers.data(), batch_max, 0, nullptr);
    if (count <= 0) return 0;  // empty, or an ICMP error of an earlier send: nothing to relay either way
    msghdr& last = headers[static_cast<std::size_t>(count) - 1].msg_hdr;
    for (cmsghdr* item = CMSG_FIRSTHDR(&last); item != nullptr; item = CMSG_NXTHDR(&last, item)) {
      if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SO_RXQ_OVFL) continue;
      std::uint32_t total = 0;
      std::memcpy(&total, CMSG_DATA(item), sizeof total);
      drops = total;
    }
    return static_cast<std::size_t>(count);
  }
  [[nodiscard]] std::span<const std::byte> payload(std::size_t i) const {
    return {slots[i].bytes.data(), headers[i].msg_len};
  }
};

Result<std::unique_ptr<UdpRelay>> UdpRelay::open(const RelayConfig& config) {
  auto listener = udp_socket(config.listen.family());
  if (!listener) return std::move(listener).error();
  if (bind(listener->get(), config.listen.get(), config.listen.size()) != 0) {
    return failed(fmt::format("listen on {}", config.listen.to_string()));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(listener->get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return failed("learn the address that was bound");
  }
  std::unique_ptr<UdpRelay> relay{new UdpRelay{config, std::move(listener).value(), SocketAddress{bound}}};
  if (Status status = relay->set_up(); !status) return std::move(status).error();
  return relay;
}

UdpRelay::UdpRelay(const RelayConfig& config, UniqueFd listener, const SocketAddress& local)
    : config_(config),
      to_target_(config.to_target, config.seed),
      to_client_(config.to_client, ~config.seed),  // luck of its own, from the same seed
      in_flight_(in_flight_bytes_max),
      local_(local),
      listener_(std::move(listener)),
      inbox_(std::make_unique<Inbox>()) {
  std::stable_sort(config_.changes.begin(), config_.changes.end(),
                   [](const LinkChange& a, const LinkChange& b) { return a.after < b.after; });
  std::sort(config_.rebinds.begin(), config_.rebinds.end());
}

UdpRelay::~UdpRelay() = default;

Status UdpRelay::set_up() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&mask, signal);
  signals_.reset(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!signals_ || !timer_ || !epoll_) return failed("set up the event loop");
  for (const int fd : {listener_.get(), timer_.get(), signals_.get()}) {
    if (!watch(epoll_.get(), fd)) return failed("set up the event loop");
  }
  return {};
}

Status UdpRelay::run() {
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    arm_timer();
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return failed("wait for datagrams");
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == signals_.get()) {
        handle_signal();
      } else if (fd == listener_.get()) {
        receive_from_clients(monotonic_now());
      } else if (const auto flow = flows_by_socket_.find(fd); flow != flows_by_socket_.end()) {
        receive_from_target(monotonic_now(), flow->second);
      }
    }
    const TimePoint now = monotonic_now();
    apply_changes(now);
    deliver_due(now);
  }
  return {};
}

std::string UdpRelay::counters() const {
  std::uint64_t flow_drops = closed_flow_drops_;
  for (const auto& [client, flow] : flows_) flow_drops += flow->drops;
  return fmt::format(
      R"({{"to_target":{},"to_client":{},"clients":{},"clients_refused":{},"socket_drops":{},"send_failures":{},)"
      R"("overflows":{}}})",
      to_json(to_target_.counters()), to_json(to_client_.counters()), flows_.size(), flows_refused_,
      listener_drops_ + flow_drops, send_failures_, in_flight_.overflows());
}

void UdpRelay::handle_signal() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGUSR1) {
      fmt::print("{}\n", counters());
      std::fflush(stdout);
    } else {
      stopping_ = true;
    }
  }
}

void UdpRelay::receive_from_clients(TimePoint now) {
  if (!first_datagram_at_) first_datagram_at_ = now;
  apply_changes(now);
  for (int turn = 0; turn < batches_per_turn; ++turn) {
    const std::size_t count = inbox_->receive(listener_.get(), listener_drops_);
    for (std::size_t i = 0; i < count; ++i) {
      const auto flow = flow_of(SocketAddress{inbox_->slots[i].from}, now);
      if (!flow) continue;
      const auto payload = inbox_->payload(i);
      for (const Delivery& copy : to_target_.offer(now, payload.size())) {
        in_flight_.push(copy, Towards::target, flow, payload);
      }
    }
    if (count < batch_max) return;
  }
}

// The flow by value: a rebind takes it out of the tables, and what has come for it is still its own.
void UdpRelay::receive_from_target(TimePoint now, std::shared_ptr<Flow> flow) {
  apply_changes(now);
  for (int turn = 0; turn < batches_per_turn; ++turn) {
    const std::size_t count = inbox_->receive(flow->upstream.get(), flow->drops);
    for (std::size_t i = 0; i < count; ++i) {
      flow->last_used = now;
      const auto payload = inbox_->payload(i);
      for (const Delivery& copy : to_client_.offer(now, payload.size())) {
        in_flight_.push(copy, Towards::client, flow, payload);
      }
    }
    if (count < batch_max) return;
  }
}

/// Null where no upstream socket can be had.
std::shared_ptr<Flow> UdpRelay::flow_of(const SocketAddress& client, TimePoint now) {
  if (const auto known = flows_.find(client); known != flows_.end()) {
    known->second->last_used = now;
    return known->second;
  }
  if (flows_.size() >= flows_max) forget_idlest_flow();
  auto upstream = udp_socket(config_.target.family());
  if (!upstream || connect(upstream->get(), config_.target.get(), config_.target.size()) != 0 ||
      !watch(epoll_.get(), upstream->get())) {
    flows_refused_ += 1;
    return nullptr;
  }
  auto flow = std::make_shared<Flow>(Flow{client, std::move(upstream).value(), now});
  flows_by_socket_.emplace(flow->upstream.get(), flow);
  flows_.emplace(client, flow);
  return flow;
}

void UdpRelay::forget_idlest_flow() {
  const auto idlest = std::min_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) {
    return a.second->last_used < b.second->last_used;
  });
  // What is still in flight keeps the flow alive; epoll hears no more of its socket.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, idlest->second->upstream.get(), nullptr);
  flows_by_socket_.erase(idlest->second->upstream.get());
  closed_flow_drops_ += idlest->second->drops;
  flows_.erase(idlest);
}

void UdpRelay::apply_changes(TimePoint now) {
  while (first_datagram_at_ && changes_done_ < config_.changes.size() &&
         *first_datagram_at_ + config_.changes[changes_done_].after <= now) {
    for (LinkModel* link : {&to_target_, &to_client_}) {
      LinkSettings settings = link->settings();
      // Checked when read; what depends on this link alone (a queue in bdp without a rate) leaves it as it was.
      if (set_link_words(settings, config_.changes[changes_done_].words)) link->change(settings);
    }
    ++changes_done_;
  }
  for (; first_datagram_at_ && rebinds_done_ < config_.rebinds.size() &&
         *first_datagram_at_ + config_.rebinds[rebinds_done_] <= now;
       ++rebinds_done_)
    rebind(now);
}

/// Flights keep their flow, and so its old socket, until they have left; nobody reads that any more.
void UdpRelay::rebind(TimePoint now) {
  std::vector<SocketAddress> clients;
  for (const auto& [client, flow] : flows_) clients.push_back(client);
  for (const SocketAddress& client : clients) {
    const auto flow = flows_.at(client);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, flow->upstream.get(), nullptr);
    flows_by_socket_.erase(flow->upstream.get());
    closed_flow_drops_ += flow->drops;
    flows_.erase(client);
    (void)flow_of(client, now);  // the old socket is still open, so the kernel gives another port
  }
}

void UdpRelay::deliver_due(TimePoint now) {
  // Runs of one socket go out in one sendmmsg; the flights must live until then.
  std::vector<Flight> run;
  const auto socket_of = [this](const Flight& flight) {
    return flight.towards == Towards::target ? flight.flow->upstream.get() : listener_.get();
  };
  const auto send_run = [&] {
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> vectors{};
    for (std::size_t i = 0; i < run.size(); ++i) {
      vectors[i] = {run[i].bytes.data(), run[i].bytes.size()};
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      if (run[i].towards == Towards::client) {
        headers[i].msg_hdr.msg_name = const_cast<sockaddr*>(run[i].flow->client.get());
        headers[i].msg_hdr.msg_namelen = run[i].flow->client.size();
      }
    }
    for (std::size_t sent = 0; sent < run.size();) {
      const int count = sendmmsg(socket_of(run[0]), headers.data() + sent, static_cast<unsigned>(run.size() - sent), 0);
      if (count > 0) {
        sent += static_cast<std::size_t>(count);
      } else if (errno != EINTR) {
        // Refused (an ICMP error that waited, a full buffer): this one is lost as on any link; the rest may pass.
        send_failures_ += 1;
        sent += 1;
      }
    }
    run.clear();
  };
  while (auto flight = in_flight_.pop_due(now)) {
    if (run.size() == batch_max || (!run.empty() && socket_of(run[0]) != socket_of(*flight))) send_run();
    run.push_back(std::move(*flight));
  }
  if (!run.empty()) send_run();
}

void UdpRelay::arm_timer() {
  const std::optional<TimePoint> next = in_flight_.next();
  if (next == timer_at_) return;  // what was due has left, so an expired one never equals the next
  timer_at_ = next;
  itimerspec when{};  // all zero disarms
  if (next) {
    const auto since_boot = next->time_since_epoch().count();
    when.it_value.tv_sec = since_boot / 1'000'000'000;
    when.it_value.tv_nsec = since_boot % 1'000'000'000;
  }
  // Setting it also clears an expiry, so nobody needs to read it.
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace penstock::netem
