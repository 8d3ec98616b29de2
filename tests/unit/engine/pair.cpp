#include "tests/unit/engine/pair.h"

#include <algorithm>
#include <variant>

namespace penstock::engine::test {

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  std::vector<std::byte> bytes(size);
  Rng rng(seed);
  rng.fill(bytes);
  return bytes;
}

PairKeys make_keys(std::uint8_t seed, const crypto::AeadBackend* backend) {
  if (backend == nullptr) backend = crypto::aead_backends().front();
  const auto secret = [&](std::uint8_t direction) {
    crypto::SecretArray<crypto::traffic_secret_size> bytes;
    std::fill(bytes.writable().begin(), bytes.writable().end(), static_cast<std::byte>(seed * 2 + direction));
    return crypto::TrafficSecret(std::move(bytes));
  };
  return {.sender = {.backend = backend,
                     .send_secret = secret(0),
                     .receive_secret = secret(1),
                     .peer_id = receiver_id,
                     .own_id = sender_id},
          .receiver = {.backend = backend,
                       .send_secret = secret(1),
                       .receive_secret = secret(0),
                       .peer_id = sender_id,
                       .own_id = receiver_id}};
}

std::span<const std::byte> VectorSource::resident(TransferOffset at, std::size_t length_max) {
  ++calls;
  if (at.value >= bytes_.size() || absent.contains(at.value / slab_size)) return {};
  const std::uint64_t end =
      std::min<std::uint64_t>({bytes_.size(), at.value + length_max, (at.value / slab_size + 1) * slab_size});
  return std::span(bytes_).subspan(at.value, end - at.value);
}

std::span<std::byte> VectorSink::lend(TransferOffset at, std::size_t length) {
  if (!open_slabs_.contains(at.value / slab_size) || at.value + length > bytes_.size() || length > room()) return {};
  return std::span(bytes_).subspan(at.value, length);
}

void VectorSink::commit(TransferOffset at, std::size_t length) { take(at, length); }

bool VectorSink::store(TransferOffset at, std::span<const std::byte> bytes) {
  if (bytes.size() > room() || at.value + bytes.size() > bytes_.size()) return false;
  open_slabs_[at.value / slab_size] = true;
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at.value));
  take(at, bytes.size());
  return true;
}

std::span<const std::byte> VectorSink::resident(TransferOffset at, std::size_t length_max) {
  std::size_t length = 0;
  while (length < length_max && at.value + length < taken_.size() && taken_[at.value + length]) ++length;
  return std::span(bytes_).subspan(at.value, length);
}

void VectorSink::take(TransferOffset at, std::size_t length) {
  for (std::size_t i = at.value; i < at.value + length; ++i) {
    if (taken_[i]) ++overwritten_;
    taken_[i] = true;
  }
  held_ += length;
}

void VectorSink::forget(TransferRange range) {
  for (std::uint64_t i = range.begin.value; i < range.end.value; ++i) {
    taken_[i] = false;
    bytes_[i] = std::byte{0};
  }
}

Pair::Pair(const Options& options)
    : sender(options.sender, make_keys(1, options.backend).sender, Rng(options.seed)),
      receiver(options.receiver, make_keys(1, options.backend).receiver, Rng(options.seed + 1)),
      source(random_bytes(options.seed + 2, options.size)),
      sink(options.size),
      options_(options),
      rng_(options.seed + 3),
      buffer_(udp_payload_limit) {}

void Pair::open() {
  sender.open_path(now_);
  receiver.open_path(now_);
}

void Pair::offer_all() {
  const TransferOffset end{options_.size};
  sender.offer(end);
  sender.finish(end);
  receiver.expect(end);
  receiver.finish(end);
}

bool Pair::transfer(Duration limit) {
  open();
  offer_all();
  return run_until([&] { return sender_drained_ && receiver_drained_; }, limit);
}

void Pair::put(std::deque<InFlight>& pipe, const Judge& judge, std::span<const std::byte> batch, std::size_t segment) {
  while (!batch.empty()) {
    const auto datagram = batch.first(std::min(segment, batch.size()));
    batch = batch.subspan(datagram.size());
    const Fate fate = judge(datagram, now_);
    if (fate == Fate::drop) continue;
    InFlight sent{now_ + options_.one_way, {datagram.begin(), datagram.end()}};
    if (fate == Fate::duplicate) pipe.push_back(sent);
    if (fate == Fate::corrupt) sent.bytes[rng_.below(sent.bytes.size())] ^= static_cast<std::byte>(1U << rng_.below(8));
    pipe.push_back(std::move(sent));
  }
}

void Pair::pump() {
  while (!forward_pipe_.empty() && forward_pipe_.front().at <= now_) {
    auto& bytes = forward_pipe_.front().bytes;
    receiver.handle_datagrams(now_, bytes, bytes.size(), sink);
    forward_pipe_.pop_front();
  }
  while (!backward_pipe_.empty() && backward_pipe_.front().at <= now_) {
    auto& bytes = backward_pipe_.front().bytes;
    sender.handle_datagrams(now_, bytes, bytes.size());
    backward_pipe_.pop_front();
  }
  while (!to_receiver_ratio_.empty() && to_receiver_ratio_.front().first <= now_) {
    receiver.on_repair_agreed(to_receiver_ratio_.front().second);
    to_sender_ratio_.emplace_back(now_ + options_.one_way, to_receiver_ratio_.front().second);
    to_receiver_ratio_.pop_front();
  }
  while (!to_sender_ratio_.empty() && to_sender_ratio_.front().first <= now_) {
    sender.on_repair_agreed(to_sender_ratio_.front().second);
    to_sender_ratio_.pop_front();
  }
  if (const auto due = sender.poll_timeout(); due && *due <= now_) sender.handle_timeout(now_);
  if (const auto due = receiver.poll_timeout(); due && *due <= now_) receiver.handle_timeout(now_);
  while (const auto out = sender.poll_transmit(now_, source, buffer_)) {
    ++datagrams_forward;
    put(forward_pipe_, forward, std::span(buffer_).first(out->size), out->segment_size);
  }
  while (const auto out = receiver.poll_transmit(now_, sink, buffer_)) {
    ++datagrams_backward;
    put(backward_pipe_, backward, std::span(buffer_).first(out->size), out->segment_size);
  }
  while (const auto event = sender.poll_event()) {
    if (on_sender_event) on_sender_event(*event);
    if (const auto* control = std::get_if<ControlReceived>(&*event)) to_sender_control.push_back(control->message);
    if (const auto* closed = std::get_if<Closed>(&*event)) sender_closed.push_back(*closed);
    if (const auto* proposal = std::get_if<RepairProposal>(&*event); proposal != nullptr && agrees_to_repair)
      to_receiver_ratio_.emplace_back(now_ + options_.one_way, proposal->ratio);
    if (const auto* prefetch = std::get_if<Prefetch>(&*event)) prefetches.push_back(*prefetch);
    if (std::holds_alternative<Drained>(*event)) sender_drained_ = true;
  }
  while (const auto event = receiver.poll_event()) {
    if (on_receiver_event) on_receiver_event(*event);
    if (const auto* control = std::get_if<ControlReceived>(&*event)) to_receiver_control.push_back(control->message);
    if (const auto* closed = std::get_if<Closed>(&*event)) receiver_closed.push_back(*closed);
    if (std::holds_alternative<Drained>(*event)) receiver_drained_ = true;
  }
}

bool Pair::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint end = now_ + limit;
  while (true) {
    pump();
    if (done()) return true;
    std::optional<TimePoint> next;
    const auto consider = [&](std::optional<TimePoint> at) {
      if (at && (!next || *at < *next)) next = at;
    };
    if (!forward_pipe_.empty()) consider(forward_pipe_.front().at);
    if (!backward_pipe_.empty()) consider(backward_pipe_.front().at);
    if (!to_receiver_ratio_.empty()) consider(to_receiver_ratio_.front().first);
    if (!to_sender_ratio_.empty()) consider(to_sender_ratio_.front().first);
    consider(sender.poll_timeout());
    consider(receiver.poll_timeout());
    if (!next || *next > end) return false;
    now_ = std::max(*next, now_ + Duration{1});
  }
}

}  // namespace penstock::engine::test
