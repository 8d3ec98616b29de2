#include "tests/sim/tcp_bbr_policed.h"

#include <algorithm>
#include <chrono>

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t stretch_min = 4;  // round trips
constexpr std::uint32_t stretch_max = 4 * stretch_min;
constexpr std::uint32_t use_length = 48;
constexpr std::uint64_t loss_least = 50;  // of 256 that arrive
constexpr std::uint64_t same_within = 8;  // an eighth

}  // namespace

void TcpBbrPoliced::begin_stretch(const Ack& ack) {
  began_ = ack;
  rounds_ = 0;
}

void TcpBbrPoliced::end_stretch(const Ack& ack, std::uint64_t rate) {
  if (rate_) {
    const std::uint64_t apart = std::max(rate, *rate_) - std::min(rate, *rate_);
    if (apart <= *rate_ / same_within) {
      rate_ = (rate + *rate_) / 2;
      in_use_ = true;
      rounds_ = 0;
      return;
    }
  }
  rate_ = rate;
  begin_stretch(ack);
}

void TcpBbrPoliced::on_ack(const Ack& ack) {
  if (in_use_) {
    if (ack.probes_bandwidth && ack.round_start && ++rounds_ >= use_length) *this = TcpBbrPoliced{};
    return;
  }
  if (!measuring_) {
    // From the first loss on: what a full bucket lets through before is not the rate.
    if (!ack.shows_loss) return;
    begin_stretch(ack);
    measuring_ = true;
  }
  if (ack.round_start) ++rounds_;
  if (rounds_ < stretch_min) return;
  if (rounds_ > stretch_max) {
    *this = TcpBbrPoliced{};
    return;
  }
  // To a loss, when the bucket is empty again.
  if (!ack.shows_loss) return;
  const std::uint64_t delivered = ack.delivered - began_.delivered;
  if (delivered == 0 || (ack.lost - began_.lost) * 256 < loss_least * delivered) return;
  const Duration length = ack.at - began_.at;
  if (length < 1ms) return;
  end_stretch(ack, delivered * 1'000'000'000 / static_cast<std::uint64_t>(length.count()));
}

}  // namespace penstock::sim
