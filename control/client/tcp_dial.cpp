#include "control/client/tcp_dial.h"

#include <algorithm>
#include <array>
#include <asio/this_coro.hpp>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>

#include "control/session/async_event.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;
using SteadyClock = std::chrono::steady_clock;

constexpr Duration share_min = std::chrono::milliseconds{100};

/// Up to two connections to one address. Shared with their handlers, which may run after the race is over.
struct Race {
  explicit Race(const asio::any_io_executor& executor) : news(executor) {}

  AsyncEvent news;
  std::array<std::optional<tcp::socket>, 2> sockets;
  std::size_t begun = 0;
  std::size_t failed = 0;
  std::optional<std::size_t> winner;
  std::error_code why;

  [[nodiscard]] bool is_over() const { return winner || failed == begun; }
};

void begin(const std::shared_ptr<Race>& race, const asio::any_io_executor& executor, const tcp::endpoint& to) {
  const std::size_t number = race->begun++;
  race->sockets.at(number).emplace(executor);
  race->sockets.at(number)->async_connect(to, [race, number](std::error_code failed) {
    if (failed) {
      ++race->failed;
      race->why = failed;
    } else if (!race->winner) {
      race->winner = number;
    }
    race->news.notify();
  });
}

/// Closes all but the winner's socket when the race is over, or when whoever waits for it is cancelled: a SYN without
/// an answer would keep its handler for minutes.
class LetGo {
 public:
  explicit LetGo(Race& race) : race_(race) {}
  ~LetGo() {
    for (std::size_t number = 0; number < race_.begun; ++number) {
      std::error_code ignored;
      if (number != race_.winner) race_.sockets.at(number)->close(ignored);
    }
  }
  LetGo(const LetGo&) = delete;
  LetGo& operator=(const LetGo&) = delete;

 private:
  Race& race_;
};

asio::awaitable<Dialled> async_dial_one(tcp::endpoint to, SteadyClock::time_point until,
                                        std::optional<Duration> second_after) {
  const auto executor = co_await asio::this_coro::executor;
  const auto race = std::make_shared<Race>(executor);
  const LetGo let_go{*race};
  const auto second_at = second_after ? SteadyClock::now() + *second_after : until;
  begin(race, executor, to);
  for (;;) {
    const auto now = SteadyClock::now();
    if (race->is_over() || now >= until) break;
    // Refused is answered: only silence asks for another SYN.
    if (race->begun == 1 && now >= second_at) begin(race, executor, to);
    const auto next = race->begun == 1 ? std::min(second_at, until) : until;
    co_await race->news.async_wait(std::max<Duration>(next - now, Duration{}));
  }
  Dialled dialled;
  if (race->winner) {
    dialled.by_second_syn = *race->winner > 0;
    dialled.socket = std::move(*race->sockets.at(*race->winner));
  } else {
    dialled.reason = race->is_over() ? race->why.message() : "no answer";
  }
  co_return dialled;
}

}  // namespace

asio::awaitable<Dialled> async_dial(std::vector<tcp::endpoint> candidates, SteadyClock::time_point deadline,
                                    RememberedRtt remembered) {
  Dialled dialled;
  std::size_t left = candidates.size();
  for (const auto& candidate : candidates) {
    const auto now = SteadyClock::now();
    if (now >= deadline) break;
    const auto share = std::max<Duration>((deadline - now) / static_cast<int>(left--), share_min);
    std::optional<Duration> second_after;
    if (const auto rtt = remembered ? remembered(candidate.address()) : std::nullopt)
      second_after = std::max<Duration>(second_syn_rtts * *rtt, second_syn_min);
    dialled = co_await async_dial_one(candidate, now + share, second_after);
    if (dialled.socket) break;
  }
  co_return dialled;
}

}  // namespace penstock::control
