#include "netem/probe/sender.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <span>
#include <utility>
#include <vector>

#include "common/random.h"
#include "netem/monotonic_now.h"
#include "netem/probe/measurement.h"
#include "netem/probe/probe_packet.h"
#include "netem/probe/probe_socket.h"
#include "netem/realtime.h"

namespace penstock::netem::probe {
namespace {

// Tuning. Datagrams stamped by one look at the clock: their calls take about 1 us each, which is the error of the last
// one's delay.
constexpr std::size_t batch_max = 8;
// A finish that is lost nine times in ten arrives in 999 runs of 1000.
constexpr int finish_copies = 64;
constexpr Duration finish_spacing = std::chrono::milliseconds{10};
constexpr std::uint32_t segments_max = 64;         // UDP_MAX_SEGMENTS of Linux before 6.9
constexpr std::uint64_t udp_payload_max = 65'507;  // over IPv4: 65535 - 28

volatile std::sig_atomic_t stopping = 0;

void stop(int /*signal*/) { stopping = 1; }

void obey_signals() {
  struct sigaction action {};
  action.sa_handler = stop;
  for (const int signal : {SIGTERM, SIGINT}) sigaction(signal, &action, nullptr);
}

void sleep_until(TimePoint at) {
  const auto ns = at.time_since_epoch().count();
  const timespec when{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
}

/// The calls of one run: `segments` datagrams in each, one behind the other in memory, headers renewed each time.
class Batch {
 public:
  Batch(std::size_t payload_size, std::uint32_t segments, std::uint64_t run, std::uint64_t total)
      : payload_size_(payload_size), segments_(segments), bytes_(payload_size * segments * batch_max) {
    Rng luck{run};
    const auto body = std::span{bytes_}.first(payload_size).subspan(probe_header_size);
    luck.fill(body);
    header_ = {.run = run, .total = total, .body_checksum = body_checksum(body)};
    for (std::size_t i = 1; i < segments * batch_max; ++i) {
      std::copy(body.begin(), body.end(), datagram(i).begin() + probe_header_size);
    }
  }

  [[nodiscard]] std::size_t calls_max() const { return segments_ > 1 ? 1 : batch_max; }

  /// Numbers from `first` on, `count` of them. How many left; fewer on an error, which errno tells.
  std::size_t send(int fd, std::uint64_t first, std::size_t count) {
    header_.sent_at = monotonic_now();
    for (std::size_t i = 0; i < count; ++i) {
      header_.number = first + i;
      encode_header(header_, datagram(i));
    }
    std::array<mmsghdr, batch_max> messages{};
    std::array<iovec, batch_max> vectors{};
    unsigned calls = 0;
    for (std::size_t at = 0; at < count; at += segments_, ++calls) {
      const std::size_t datagrams = std::min<std::size_t>(segments_, count - at);
      vectors[calls] = {datagram(at).data(), payload_size_ * datagrams};
      messages[calls].msg_hdr.msg_iov = &vectors[calls];
      messages[calls].msg_hdr.msg_iovlen = 1;
    }
    const int done = sendmmsg(fd, messages.data(), calls, 0);
    if (done <= 0) return 0;
    return std::min<std::size_t>(static_cast<std::size_t>(done) * segments_, count);
  }

  bool send_finish(int fd, std::uint64_t sent) {
    ProbeHeader finish = header_;
    finish.kind = ProbeHeader::Kind::finish;
    finish.number = sent;
    finish.sent_at = monotonic_now();
    std::array<std::byte, probe_header_size> bytes{};
    encode_header(finish, bytes);
    return ::send(fd, bytes.data(), bytes.size(), 0) >= 0;
  }

 private:
  std::span<std::byte> datagram(std::size_t i) { return std::span{bytes_}.subspan(i * payload_size_, payload_size_); }

  std::size_t payload_size_;
  std::uint32_t segments_;
  std::vector<std::byte> bytes_;
  ProbeHeader header_;
};

Result<UniqueFd> open_sender(const SendConfig& config) {
  auto fd = open_udp(config.to.family());
  if (!fd) return fd;
  // What does not fit the device is an error here, not a fragment.
  const int never_fragment = IP_PMTUDISC_DO;
  if (config.to.family() == AF_INET) {
    setsockopt(fd->get(), IPPROTO_IP, IP_MTU_DISCOVER, &never_fragment, sizeof never_fragment);
  } else {
    setsockopt(fd->get(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &never_fragment, sizeof never_fragment);
  }
  if (config.bind && bind(fd->get(), config.bind->get(), config.bind->size()) != 0) {
    return failed(fmt::format("send from {}", config.bind->to_string()));
  }
  if (connect(fd->get(), config.to.get(), config.to.size()) != 0) {
    return failed(fmt::format("send to {}", config.to.to_string()));
  }
  if (config.segments > 1) {
    const int payload = static_cast<int>(config.size - header_bytes(config.to.family()));
    if (setsockopt(fd->get(), SOL_UDP, UDP_SEGMENT, &payload, sizeof payload) != 0) {
      return failed("send with UDP_SEGMENT (Linux 4.18 has it); leave --segments out");
    }
  }
  return fd;
}

Error explain_send_failure(const SendConfig& config) {
  if (errno == ECONNREFUSED) {
    return {ErrorCode::CONNECT_REFUSED,
            fmt::format("nobody receives at {}: start penstock-link-probe receive there first", config.to.to_string())};
  }
  if (errno == EMSGSIZE) {
    return {ErrorCode::USAGE, fmt::format("--size {} is more than the MTU of the device", config.size)};
  }
  return failed(fmt::format("send to {}", config.to.to_string()));
}

bool is_passing(int error) { return error == EINTR || error == EAGAIN || error == ENOBUFS; }

}  // namespace

Status check(const SendConfig& config) {
  const auto usage = [](std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; };
  const std::uint64_t headers = header_bytes(config.to.family());
  const std::uint64_t size_min = headers + probe_header_size;
  if (config.size < size_min || config.size > headers + udp_payload_max - 20) {
    return usage(
        fmt::format("--size {}: from {} to {} bytes of IP", config.size, size_min, headers + udp_payload_max - 20));
  }
  const std::uint64_t fit = std::min<std::uint64_t>(segments_max, udp_payload_max / (config.size - headers));
  if (config.segments < 1 || config.segments > fit) {
    return usage(fmt::format("--segments {}: from 1 to {} of this size", config.segments, fit));
  }
  if (config.count < 1 || config.count > Measurement::total_max) {
    return usage(fmt::format("{} datagrams: from 1 to {}", config.count, Measurement::total_max));
  }
  if (config.bind && config.bind->family() != config.to.family()) {
    return usage("--bind and --to are of two address families");
  }
  return {};
}

Result<std::string> send_run(const SendConfig& config) {
  obey_signals();
  // Where it may: on a busy machine an ordinary thread sends in bursts, which are not what was asked for.
  const bool is_realtime = become_realtime(RealtimePriority::probe);
  sleep_exactly();
  auto fd = open_sender(config);
  if (!fd) return std::move(fd).error();
  std::uint64_t run = 0;
  if (getrandom(&run, sizeof run, 0) != static_cast<ssize_t>(sizeof run)) return failed("draw a random number");
  Batch batch{config.size - header_bytes(config.to.family()), config.segments, run, config.count};

  const TimePoint start = monotonic_now();
  __extension__ using Wide = unsigned __int128;
  const auto due_at = [&](std::uint64_t number) {
    const Wide bits = Wide{number} * config.size * 8;
    return start + Duration{static_cast<Duration::rep>(bits * 1'000'000'000 / config.rate.bits_per_second())};
  };
  std::uint64_t sent = 0;
  Duration late_max{0};
  while (sent < config.count && stopping == 0) {
    // A call leaves when its first datagram is due; several calls only when several are due already.
    const TimePoint due = due_at(sent);
    TimePoint now = monotonic_now();
    if (now < due) {
      sleep_until(due);
      if (stopping != 0) break;
      now = monotonic_now();
      if (now < due) continue;
    }
    late_max = std::max(late_max, now - due);
    std::size_t count = std::min<std::uint64_t>(config.segments, config.count - sent);
    for (std::size_t calls = 1; calls < batch.calls_max() && sent + count < config.count; ++calls) {
      if (due_at(sent + count) > now) break;
      count += std::min<std::uint64_t>(config.segments, config.count - sent - count);
    }
    const std::size_t left = batch.send(fd->get(), sent, count);
    if (left == 0 && !is_passing(errno)) return explain_send_failure(config);
    sent += left;
  }
  const TimePoint end = monotonic_now();

  for (int i = 0; i < finish_copies; ++i) {
    // The receiver may have heard enough already and gone.
    if (!batch.send_finish(fd->get(), sent) && !is_passing(errno)) break;
    sleep_until(monotonic_now() + finish_spacing);
  }
  const std::uint64_t bytes = sent * config.size;
  const double duration = static_cast<double>((end - start).count()) / 1e9;
  const std::string rate = duration > 0 ? fmt::format("{:.0f}", static_cast<double>(bytes) * 8 / duration) : "null";
  return fmt::format(R"({{"event":"sent","sent":{},"bytes":{},"seconds":{:.6f},"rate_bps":{},"late_us_max":{:.1f},)"
                     R"("scheduling":"{}"}})",
                     sent, bytes, duration, rate, static_cast<double>(late_max.count()) / 1e3,
                     is_realtime ? "realtime" : "normal");
}

}  // namespace penstock::netem::probe
