#include "dataplane/io/receive_share.h"

#include <algorithm>

namespace penstock::io {
namespace {
constexpr std::uint64_t scale_one = 16;
constexpr std::uint64_t scale_min = 1;
constexpr std::uint64_t growth_divisor = 8;  // twice the window in a second and a half
}  // namespace

void ReceiveShare::on_read(TimePoint now, std::size_t bytes, std::uint64_t drops_total) {
  if (now - epoch_begin_ >= epoch) end_epoch(now);
  bytes_ += bytes;
  drops_ = drops_total - drops_before_;
  if (drops_ > 0 && !scale_) scale_ = scale_one;
}

void ReceiveShare::on_lane(Mark& mark) {
  if (mark.epoch == epoch_number_) return;
  mark.epoch = epoch_number_;
  ++lanes_;
  sharers_ = std::max(sharers_, lanes_);
}

void ReceiveShare::end_epoch(TimePoint now) {
  const auto lasted =
      static_cast<std::uint64_t>(std::clamp<Duration>(now - epoch_begin_, epoch, std::chrono::seconds{1}).count());
  rates_[epoch_number_ % rate_epochs] = bytes_ * 1'000'000'000 / lasted;
  if (scale_) {
    if (drops_ > 0) {
      scale_ = std::max(*scale_ / 2, scale_min);
    } else {
      scale_ = *scale_ + std::max<std::uint64_t>(*scale_ / growth_divisor, 1);
    }
    if (*scale_ >= scale_one * buffer_divisor * lanes_) scale_.reset();
  }
  drops_before_ += drops_;
  drops_ = 0;
  sharers_ = std::max<std::size_t>(lanes_, 1);
  lanes_ = 0;
  bytes_ = 0;
  epoch_begin_ = now;
  ++epoch_number_;
}

std::optional<std::uint64_t> ReceiveShare::window(Duration rtt_min) const {
  if (!scale_ || sharers_ < 2) return std::nullopt;
  const std::uint64_t queued = receive_buffer_ / buffer_divisor / sharers_ * *scale_ / scale_one;
  const std::uint64_t rate = *std::max_element(rates_.begin(), rates_.end()) / sharers_;
  const auto rtt =
      static_cast<std::uint64_t>(std::clamp<Duration>(rtt_min, Duration::zero(), std::chrono::seconds{1}).count());
  __extension__ using Wide = unsigned __int128;
  const auto on_path = static_cast<std::uint64_t>(Wide{rate} * rtt / 1'000'000'000);
  return std::max(queued + on_path, window_min);
}

}  // namespace penstock::io
