#include "netem/probe/receiver.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "netem/monotonic_now.h"
#include "netem/probe/measurement.h"
#include "netem/probe/probe_packet.h"
#include "netem/probe/probe_socket.h"
#include "netem/realtime.h"

namespace penstock::netem::probe {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t batch_max = 64;
constexpr std::size_t datagram_max = 65'536;

Duration since_epoch(const timespec& time) {
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

/// What CLOCK_REALTIME, the clock of the kernel's stamps, is ahead of CLOCK_MONOTONIC. Read anew for every batch, so a
/// step of the former is the error of one batch at most.
Duration realtime_ahead() {
  // Of several looks the quickest: an interruption in the middle of one would be taken for an offset.
  constexpr int looks = 3;
  Duration quickest = Duration::max();
  Duration ahead{0};
  for (int i = 0; i < looks; ++i) {
    const TimePoint before = monotonic_now();
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);
    const Duration took = monotonic_now() - before;
    if (took >= quickest) continue;
    quickest = took;
    ahead = since_epoch(real) - (before + took / 2).time_since_epoch();
  }
  return ahead;
}

/// One run, from its first datagram on.
class Run {
 public:
  explicit Run(int family) : headers_(header_bytes(family)) {}

  void handle(std::span<const std::byte> datagram, TimePoint at) {
    const auto header = decode_header(datagram);
    const std::uint64_t ip_bytes = datagram.size() + headers_;
    if (!header) {
      // Nobody else sends to this port of a lab, so what is long enough is one of ours with its header spoilt.
      if (measurement_ && datagram.size() >= probe_header_size) {
        measurement_->on_unidentified(at, ip_bytes);
      } else {
        foreign_ += 1;
      }
      return;
    }
    if (!measurement_) {
      if (header->total > Measurement::total_max) {
        foreign_ += 1;
        return;
      }
      measurement_.emplace(header->total);
      run_ = header->run;
    }
    if (header->run != run_) {
      foreign_ += 1;
    } else if (header->kind == ProbeHeader::Kind::finish) {
      if (header->number <= header->total && finishes_ == 0) measurement_->on_finish(header->number);
      finishes_ += 1;
    } else if (!measurement_->on_arrival(
                   {.number = header->number,
                    .sent_at = header->sent_at,
                    .received_at = at,
                    .bytes = ip_bytes,
                    .damaged = body_checksum(datagram.subspan(probe_header_size)) != header->body_checksum})) {
      foreign_ += 1;
    }
  }

  [[nodiscard]] bool has_begun() const { return measurement_.has_value(); }
  [[nodiscard]] bool has_finished() const { return finishes_ > 0; }
  [[nodiscard]] std::string result_line(std::uint64_t receiver_drops) const;

 private:
  std::uint64_t headers_;
  std::optional<Measurement> measurement_;
  std::uint64_t run_ = 0;
  std::uint64_t finishes_ = 0;
  std::uint64_t foreign_ = 0;
};

double rounded(double value, double digits) { return std::round(value * digits) / digits; }

Json microseconds(double ns) { return rounded(ns / 1e3, 10); }

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : rounded(static_cast<double>(part) / static_cast<double>(whole), 1e9);
}

std::string Run::result_line(std::uint64_t receiver_drops) const {
  const Figures f = measurement_ ? measurement_->figures() : Figures{};
  Json delay = nullptr;
  if (f.delay) {
    const auto us = [](std::int64_t ns) { return microseconds(static_cast<double>(ns)); };
    delay = {{"min", us(f.delay->min)},
             {"median", us(f.delay->median)},
             {"p90", us(f.delay->p90)},
             {"p99", us(f.delay->p99)},
             {"max", us(f.delay->max)},
             {"mean", microseconds(f.delay->mean)},
             {"stddev", microseconds(f.delay->stddev)}};
  }
  const Json line{{"event", "result"},
                  {"v", 1},
                  {"sent", f.sent},
                  {"received", f.received},
                  {"lost", f.lost},
                  {"loss", share(f.lost, f.sent)},
                  {"duplicates", f.duplicates},
                  {"reordered", f.reordered},
                  {"reordered_share", share(f.reordered, f.received)},
                  {"corrupted", f.corrupted},
                  {"unidentified", f.unidentified},
                  {"finishes", finishes_},
                  {"foreign", foreign_},
                  {"receiver_drops", receiver_drops},
                  {"delay_us", std::move(delay)},
                  {"jitter_us", f.jitter_ns ? microseconds(*f.jitter_ns) : Json(nullptr)},
                  {"bursts", f.bursts},
                  {"burst_length_mean", rounded(f.burst_length_mean, 1e6)},
                  {"burst_length_max", f.burst_length_max},
                  {"bytes", f.bytes},
                  {"seconds", f.duration ? rounded(static_cast<double>(f.duration->count()) / 1e9, 1e6) : 0.0},
                  {"rate_bps", f.rate_bps ? Json(static_cast<std::uint64_t>(*f.rate_bps)) : Json(nullptr)}};
  return line.dump();
}

/// Room for one recvmmsg, with the kernel's stamps and its count of what it dropped.
class Inbox {
 public:
  /// How many came; none when the socket is empty.
  std::size_t receive(int fd) {
    for (std::size_t i = 0; i < batch_max; ++i) {
      vectors_[i] = {slots_[i].bytes.data(), slots_[i].bytes.size()};
      messages_[i].msg_hdr = {};
      messages_[i].msg_hdr.msg_iov = &vectors_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_control = slots_[i].control.data();
      messages_[i].msg_hdr.msg_controllen = slots_[i].control.size();
    }
    const int count = recvmmsg(fd, messages_.data(), batch_max, MSG_DONTWAIT, nullptr);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  [[nodiscard]] std::span<const std::byte> datagram(std::size_t i) const {
    return {slots_[i].bytes.data(), messages_[i].msg_len};
  }
  /// The kernel's stamp in CLOCK_MONOTONIC; `otherwise` where there is none. `drops` becomes the kernel's running
  /// total.
  TimePoint arrival(std::size_t i, Duration ahead, TimePoint otherwise, std::uint64_t& drops) {
    TimePoint at = otherwise;
    msghdr& message = messages_[i].msg_hdr;
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
      if (item->cmsg_level != SOL_SOCKET) continue;
      if (item->cmsg_type == SO_TIMESTAMPNS) {
        timespec stamp{};
        std::memcpy(&stamp, CMSG_DATA(item), sizeof stamp);
        at = TimePoint{since_epoch(stamp) - ahead};
      } else if (item->cmsg_type == SO_RXQ_OVFL) {
        std::uint32_t total = 0;
        std::memcpy(&total, CMSG_DATA(item), sizeof total);
        drops = std::max<std::uint64_t>(drops, total);
      }
    }
    return at;
  }

 private:
  struct Slot {
    std::array<std::byte, datagram_max> bytes;
    alignas(cmsghdr) std::array<std::byte, 128> control;
  };
  std::vector<Slot> slots_{batch_max};
  std::array<mmsghdr, batch_max> messages_{};
  std::array<iovec, batch_max> vectors_{};
};

Result<UniqueFd> open_receiver(const SocketAddress& listen) {
  auto fd = open_udp(listen.family());
  if (!fd) return fd;
  const int on = 1;
  if (setsockopt(fd->get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
    return failed("ask for receive timestamps");
  setsockopt(fd->get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
  if (bind(fd->get(), listen.get(), listen.size()) != 0) return failed(fmt::format("listen on {}", listen.to_string()));
  return fd;
}

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    return failed("learn the address that was bound");
  return SocketAddress{bound};
}

Duration patience(const ReceiveConfig& config, const Run& run) {
  if (run.has_finished()) return config.linger;
  return run.has_begun() ? config.idle : config.wait;
}

}  // namespace

Result<std::string> receive_run(const ReceiveConfig& config,
                                const std::function<void(const SocketAddress&)>& on_ready) {
  auto fd = open_receiver(config.listen);
  if (!fd) return std::move(fd).error();
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&mask, signal);
  const UniqueFd signals{signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC)};
  if (!signals) return failed("watch for signals");
  const auto address = local_address(fd->get());
  if (!address) return address.error();
  static_cast<void>(become_realtime(RealtimePriority::probe));  // so that its socket does not overflow
  on_ready(*address);

  Run run{config.listen.family()};
  Inbox inbox;
  std::uint64_t drops = 0;
  TimePoint last = monotonic_now();
  while (true) {
    const Duration left = last + patience(config, run) - monotonic_now();
    if (left <= Duration::zero()) break;
    std::array<pollfd, 2> waiting{pollfd{.fd = fd->get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = signals.get(), .events = POLLIN, .revents = 0}};
    const timespec wait{.tv_sec = left.count() / 1'000'000'000, .tv_nsec = left.count() % 1'000'000'000};
    if (ppoll(waiting.data(), waiting.size(), &wait, nullptr) < 0 && errno != EINTR)
      return failed("wait for datagrams");
    if ((waiting[1].revents & POLLIN) != 0) break;
    const std::size_t count = inbox.receive(fd->get());
    if (count == 0) continue;
    const Duration ahead = realtime_ahead();
    last = monotonic_now();
    for (std::size_t i = 0; i < count; ++i) run.handle(inbox.datagram(i), inbox.arrival(i, ahead, last, drops));
  }
  if (!run.has_begun()) {
    return Error{ErrorCode::TIMED_OUT, fmt::format("nothing came to {}", address->to_string())};
  }
  return run.result_line(drops);
}

}  // namespace penstock::netem::probe
