// Moves bytes from memory to memory between two workers of one process over loopback, and prints how fast: the whole
// data plane without disks. Not a test; numbers depend on what else the machine does.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/random.h"
#include "dataplane/io/monotonic_now.h"
#include "dataplane/io/path_mtu.h"
#include "dataplane/io/worker.h"

namespace penstock::io {
namespace {

// Larger than the second-level cache, so that plaintext comes from and goes to memory as it does with files.
constexpr std::uint64_t memory_size = 64 * MiB;

struct Options {
  std::uint64_t bytes = 4 * GiB;
  std::uint64_t lanes = 1;
  std::size_t udp_payload_size = 1471;  // 1436 file bytes
  std::string address = "127.0.0.1:0";
  std::string backend;
  std::uint64_t megabits = 0;  // a fixed rate, to see what pacing costs; 0: as fast as it goes
  engine::Congestion congestion = engine::SenderConfig{}.congestion;
  bool gso = true;
  bool gro = true;
};

class RepeatedSource final : public engine::SourceWindow {
 public:
  RepeatedSource() : bytes_(memory_size) { Rng{1}.fill(bytes_); }
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    const std::uint64_t place = at.value % memory_size;
    return std::span{bytes_}.subspan(place, std::min<std::uint64_t>(length_max, memory_size - place));
  }
  void prefetch(TransferRange /*range*/) override {}
  void on_progress(TransferOffset /*frontier*/, TransferOffset /*oldest*/, std::uint64_t /*retention*/) override {}

 private:
  std::vector<std::byte> bytes_;
};

class OverwrittenSink final : public engine::SinkWindow {
 public:
  OverwrittenSink() : bytes_(memory_size) {}
  std::span<std::byte> lend(TransferOffset at, std::size_t length) override {
    const std::uint64_t place = at.value % memory_size;
    return place + length <= memory_size ? std::span{bytes_}.subspan(place, length) : std::span<std::byte>{};
  }
  void commit(TransferOffset /*at*/, std::size_t /*length*/) override {}
  bool store(TransferOffset at, std::span<const std::byte> bytes) override {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes_[(at.value + i) % memory_size] = bytes[i];
    return true;
  }
  [[nodiscard]] std::uint64_t room() const override { return memory_size; }
  void on_quiet() override {}

 private:
  std::vector<std::byte> bytes_;
};

/// Counts lanes down to the last.
class Finish {
 public:
  explicit Finish(std::uint64_t lanes) : left_(lanes) {}
  void one_done() {
    const std::lock_guard lock{mutex_};
    if (--left_ == 0) all_done_.notify_all();
  }
  void wait() {
    std::unique_lock lock{mutex_};
    all_done_.wait(lock, [&] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_done_;
  std::uint64_t left_;
};

class Watch final : public LaneObserver {
 public:
  Watch(Finish& finish, TransferOffset end) : finish_(finish), end_(end) {}
  void on_event(const engine::SenderEvent& event) override {
    if (const auto* drained = std::get_if<engine::Drained>(&event); drained != nullptr && drained->end == end_) {
      finish_.one_done();
    } else if (const auto* closed = std::get_if<engine::Closed>(&event)) {
      fmt::print(stderr, "sender closed: {}\n", static_cast<int>(closed->error));
      std::exit(1);
    }
  }
  void on_event(const engine::ReceiverEvent& event) override {
    if (const auto* closed = std::get_if<engine::Closed>(&event); closed != nullptr && !closed->by_peer) {
      fmt::print(stderr, "receiver closed: {}\n", static_cast<int>(closed->error));
      std::exit(1);
    }
  }
  void on_stats(const engine::LaneStats& stats) override { last = stats; }
  engine::LaneStats last;

 private:
  Finish& finish_;
  TransferOffset end_;
};

crypto::TrafficSecret secret(std::uint64_t seed) {
  std::array<std::byte, crypto::traffic_secret_size> bytes{};
  Rng{seed}.fill(bytes);
  return crypto::TrafficSecret{crypto::SecretArray<crypto::traffic_secret_size>{bytes}};
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::unique_ptr<Worker> start(const Options& options, std::vector<Endpoint> listen, const std::string& name) {
  WorkerConfig config;
  config.listen = std::move(listen);
  config.socket.gso = options.gso;
  config.socket.gro = options.gro;
  config.thread_name = name;
  auto worker = Worker::create(config);
  if (worker.ok()) return std::move(worker).value();
  fmt::print(stderr, "{}\n", worker.error().message);
  std::exit(1);
}

int run(const Options& options) {
  const auto* backend =
      options.backend.empty() ? crypto::aead_backends().front() : crypto::aead_backend_named(options.backend);
  const auto address = Endpoint::parse(options.address);
  if (backend == nullptr || !address) {
    fmt::print(stderr, "no such backend or address\n");
    return 2;
  }
  auto receiving = start(options, {*address}, "bench-receive");
  auto sending = start(options, {}, "bench-send");
  const Endpoint target = receiving->local_endpoints().front();

  const TransferOffset end{options.bytes / options.lanes};
  Finish finish{options.lanes};
  std::vector<std::shared_ptr<Watch>> watches;
  const TimePoint begin = monotonic_now();
  const double cpu_begin = cpu_seconds();
  for (std::uint64_t lane = 0; lane < options.lanes; ++lane) {
    const ConnectionId receiver_id{0x1000 + lane};
    const ConnectionId sender_id{0x2000 + lane};
    engine::ReceiverConfig receiver_config;
    receiver_config.udp_payload_size = options.udp_payload_size;
    receiver_config.ip_overhead = ip_overhead(target);
    receiver_config.initial_rtt = std::chrono::milliseconds{1};
    engine::SenderConfig sender_config;
    sender_config.udp_payload_size = options.udp_payload_size;
    sender_config.ip_overhead = ip_overhead(target);
    sender_config.initial_rtt = std::chrono::milliseconds{1};
    sender_config.congestion = options.congestion;
    if (options.megabits != 0) {
      sender_config.congestion = engine::Congestion::fixed;
      sender_config.rate = DataRate::megabits_per_second(options.megabits / options.lanes);
    }

    engine::Receiver receiver{receiver_config,
                              {.backend = backend,
                               .send_secret = secret(2 * lane),
                               .receive_secret = secret(2 * lane + 1),
                               .peer_id = sender_id,
                               .own_id = receiver_id},
                              Rng{lane}};
    receiver.expect(end);
    receiver.finish(end);
    engine::Sender sender{sender_config,
                          {.backend = backend,
                           .send_secret = secret(2 * lane + 1),
                           .receive_secret = secret(2 * lane),
                           .peer_id = receiver_id,
                           .own_id = sender_id},
                          Rng{lane + 1}};
    sender.offer(end);
    sender.finish(end);
    for (int half = 0; half < 2; ++half) watches.push_back(std::make_shared<Watch>(finish, end));
    receiving->add_receiver(receiver_id, std::move(receiver), std::make_shared<OverwrittenSink>(), std::nullopt,
                            watches[watches.size() - 2]);
    sending->add_sender(sender_id, std::move(sender), std::make_shared<RepeatedSource>(), target, watches.back());
  }
  finish.wait();
  const double seconds = std::chrono::duration<double>(monotonic_now() - begin).count();
  const double cpu = cpu_seconds() - cpu_begin;

  const double gigabits = static_cast<double>(end.value * options.lanes) * 8 / 1e9;
  const WorkerCounters out = sending->counters();
  const WorkerCounters in = receiving->counters();
  fmt::print("{} {:.1f} GB in {:.2f} s: {:.2f} Gbit/s, {:.1f} % of a core per Gbit/s, {}\n", options.address,
             gigabits / 8, seconds, gigabits / seconds, 100 * cpu / gigabits, backend->name());
  fmt::print("datagrams sent {} in {} batches, received {} in {}, drops {}, blocked {}, acks {}, overdue {} {}\n",
             out.datagrams_sent, out.send_batches, in.datagrams_received, in.receive_batches, in.socket_drops,
             out.send_blocked, in.datagrams_sent, out.timers_overdue, in.timers_overdue);
  // Their last statistics come as they go.
  sending.reset();
  receiving.reset();
  engine::LaneStats sum;
  for (std::uint64_t lane = 0; lane < options.lanes; ++lane) {
    const engine::LaneStats& sender = watches[2 * lane + 1]->last;
    sum.packets_lost += sender.packets_lost;
    sum.spurious_losses += sender.spurious_losses;
    sum.pto_count += sender.pto_count;
    sum.payload_bytes_retransmitted += sender.payload_bytes_retransmitted;
    sum.packets_sent += (sender.payload_bytes_sent + options.udp_payload_size - 36) / (options.udp_payload_size - 35);
  }
  fmt::print("lost {}, late after all {}, probe time-outs {}, repeated {} KiB, datagrams without file bytes {}\n",
             sum.packets_lost, sum.spurious_losses, sum.pto_count, sum.payload_bytes_retransmitted / KiB,
             out.datagrams_sent - std::min(out.datagrams_sent, sum.packets_sent));
  return 0;
}

}  // namespace
}  // namespace penstock::io

int main(int argc, char** argv) {
  penstock::io::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto equals = word.find('=');
    const std::string value{equals == std::string_view::npos ? "" : word.substr(equals + 1)};
    const std::string_view name = word.substr(0, equals);
    if (name == "--gib") {
      options.bytes = std::stoull(value) * penstock::GiB;
    } else if (name == "--lanes") {
      options.lanes = std::stoull(value);
    } else if (name == "--udp-payload") {
      options.udp_payload_size = std::stoull(value);
    } else if (name == "--address") {
      options.address = value;
    } else if (name == "--backend") {
      options.backend = value;
    } else if (name == "--megabits") {
      options.megabits = std::stoull(value);
    } else if (name == "--cc" && (value == "bbr" || value == "cubic")) {
      options.congestion = value == "bbr" ? penstock::engine::Congestion::bbr : penstock::engine::Congestion::cubic;
    } else if (name == "--no-gso") {
      options.gso = false;
    } else if (name == "--no-gro") {
      options.gro = false;
    } else {
      fmt::print(stderr,
                 "usage: penstock_bench_loopback [--gib=4] [--lanes=1] [--udp-payload=1471] [--address=127.0.0.1:0] "
                 "[--backend=NAME] [--megabits=RATE] [--cc=bbr|cubic] [--no-gso] [--no-gro]\n");
      return 2;
    }
  }
  return penstock::io::run(options);
}
