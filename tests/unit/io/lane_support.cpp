#include "tests/unit/io/lane_support.h"

#include <algorithm>
#include <array>
#include <future>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "dataplane/io/path_mtu.h"

namespace penstock::io {
namespace {

// Turns a hang into a failure; nothing waits for it otherwise.
constexpr auto patience = std::chrono::seconds{30};

crypto::TrafficSecret secret(std::uint64_t seed) {
  std::array<std::byte, crypto::traffic_secret_size> bytes{};
  Rng{seed}.fill(bytes);
  return crypto::TrafficSecret{crypto::SecretArray<crypto::traffic_secret_size>{bytes}};
}

}  // namespace

std::span<const std::byte> MemorySource::resident(TransferOffset at, std::size_t length_max) {
  if (at.value >= bytes_.size()) return {};
  return std::span{bytes_}.subspan(at.value, std::min<std::size_t>(length_max, bytes_.size() - at.value));
}

void MemorySource::on_progress(TransferOffset frontier, TransferOffset /*oldest*/, std::uint64_t /*retention*/) {
  const std::lock_guard lock{mutex_};
  frontier_ = frontier;
}

TransferOffset MemorySource::frontier() {
  const std::lock_guard lock{mutex_};
  return frontier_;
}

std::span<std::byte> MemorySink::lend(TransferOffset at, std::size_t length) {
  const bool lends = at.value / (16 * KiB) % 2 == 0;
  if (!lends || at.value + length > bytes_.size()) return {};
  return std::span{bytes_}.subspan(at.value, length);
}

void MemorySink::commit(TransferOffset /*at*/, std::size_t length) { received_ += length; }

bool MemorySink::store(TransferOffset at, std::span<const std::byte> bytes) {
  if (at.value + bytes.size() > bytes_.size()) return false;
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at.value));
  received_ += bytes.size();
  return true;
}

void MemorySink::on_quiet() {
  const std::lock_guard lock{mutex_};
  quiet_with_all_ = received_ == bytes_.size();
  changed_.notify_all();
}

bool MemorySink::await_quiet() {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, patience, [&] { return quiet_with_all_; });
}

void RecordingObserver::on_event(const engine::SenderEvent& event) { take(event); }
void RecordingObserver::on_event(const engine::ReceiverEvent& event) { take(event); }

void RecordingObserver::on_stats(const engine::LaneStats& stats) {
  change([&](Record& record) {
    ++record.stats;
    record.last_stats = stats;
  });
}

void RecordingObserver::on_lane_gone() {
  change([](Record& record) { ++record.gone; });
}

bool RecordingObserver::await(const std::function<bool(const Record&)>& condition) {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, patience, [&] { return condition(record_); });
}

bool RecordingObserver::await_drained(std::uint64_t end) {
  return await([&](const Record& record) {
    return std::find(record.drained.begin(), record.drained.end(), TransferOffset{end}) != record.drained.end();
  });
}

bool RecordingObserver::await_gone() {
  return await([](const Record& record) { return record.gone > 0; });
}

RecordingObserver::Record RecordingObserver::record() {
  const std::lock_guard lock{mutex_};
  return record_;
}

template <class Event>
void RecordingObserver::take(const Event& event) {
  change([&](Record& record) {
    if (const auto* drained = std::get_if<engine::Drained>(&event)) record.drained.push_back(drained->end);
    if (const auto* control = std::get_if<engine::ControlReceived>(&event)) record.control.push_back(control->message);
    if (const auto* closed = std::get_if<engine::Closed>(&event)) record.closed.push_back(*closed);
    if (std::holds_alternative<engine::PeerHeard>(event)) ++record.peer_heard;
  });
}

void RecordingObserver::change(const std::function<void(Record&)>& how) {
  const std::lock_guard lock{mutex_};
  if (record_.gone > 0) ++record_.after_gone;
  how(record_);
  changed_.notify_all();
}

LanePair::LanePair(Bytes bytes, std::uint64_t lane_seed)
    : size(bytes.size()),
      seed(lane_seed),
      sender_id{Rng{lane_seed}.next()},
      receiver_id{Rng{lane_seed + 1'000'000}.next()},
      source(std::make_shared<MemorySource>(std::move(bytes))),
      sink(std::make_shared<MemorySink>(size)) {}

void LanePair::add_sender(Worker& worker, std::optional<Endpoint> peer) {
  engine::SenderConfig config;
  config.initial_rtt = std::chrono::milliseconds{1};
  engine::Sender sender{config,
                        {.backend = crypto::aead_backends().front(),
                         .send_secret = secret(2 * seed),
                         .receive_secret = secret(2 * seed + 1),
                         .peer_id = receiver_id,
                         .own_id = sender_id},
                        Rng{seed}};
  sender.offer({size});
  sender.finish({size});
  worker.add_sender(sender_id, std::move(sender), source, peer, sender_seen);
}

void LanePair::add_receiver(Worker& worker, std::optional<Endpoint> peer, bool hello) {
  add_receiver(worker, std::move(peer), receiver_seen, hello);
}

void LanePair::add_receiver(Worker& worker, std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer,
                            bool hello) {
  engine::ReceiverConfig config;
  config.initial_rtt = std::chrono::milliseconds{1};
  config.hello_until_heard = hello;
  engine::Receiver receiver{config,
                            {.backend = crypto::aead_backends().front(),
                             .send_secret = secret(2 * seed + 1),
                             .receive_secret = secret(2 * seed),
                             .peer_id = sender_id,
                             .own_id = receiver_id},
                            Rng{seed}};
  receiver.expect({size});
  receiver.finish({size});
  worker.add_receiver(receiver_id, std::move(receiver), sink, std::move(peer), std::move(observer));
}

void LanePair::push(Worker& client, Worker& daemon) {
  add_receiver(daemon, std::nullopt);
  add_sender(client, daemon.local_endpoints().front());
}

void LanePair::pull(Worker& client, Worker& daemon) {
  add_sender(daemon, std::nullopt);
  add_receiver(client, daemon.local_endpoints().front(), true);
}

void LanePair::check_complete() {
  CHECK(receiver_seen->await_drained(size));
  CHECK(sender_seen->await_drained(size));
  REQUIRE(sink->await_quiet());
  CHECK(sink->bytes() == source->bytes());
}

void finish_turn(Worker& worker) {
  std::promise<void> reached;
  worker.post([&] { reached.set_value(); });
  reached.get_future().wait();
}

std::unique_ptr<Worker> start_worker(const std::vector<std::string>& listen, const UdpSocketOptions& options,
                                     std::size_t inbox_max) {
  WorkerConfig config;
  for (const auto& text : listen) config.listen.push_back(endpoint(text));
  config.socket = options;
  config.inbox_max = inbox_max;
  auto worker = Worker::create(config);
  REQUIRE(worker.ok());
  return std::move(worker).value();
}

}  // namespace penstock::io
