#pragma once

#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/time.h"

namespace penstock::control {

// Specification: a second SYN follows after max(2 RTT, 150 ms) where the RTT is remembered (PROTOCOL section 1). The
// kernel's own repetition comes after a second.
inline constexpr Duration second_syn_min = std::chrono::milliseconds{150};
inline constexpr int second_syn_rtts = 2;

struct Dialled {
  std::optional<asio::ip::tcp::socket> socket;  // connected; nullopt: `reason` says why nothing answers
  bool by_second_syn = false;                   // the first one was not answered in time
  std::string reason = "no address";
};

/// The RTT that is remembered of the way to an address; nullopt: none is, and there is no second SYN.
using RememberedRtt = std::function<std::optional<Duration>(const asio::ip::address&)>;

/// Connects to the first of `candidates` that answers: one after the other, each with its share of the time that is
/// left until `deadline`, so that an address that does not answer leaves time for the next. Where the RTT is remembered
/// two connections to the same address race, the second one beginning when the first should have been answered; the one
/// that is there first is taken, the other one is closed. Threads: the executor of the coroutine, which runs one
/// handler at a time.
asio::awaitable<Dialled> async_dial(std::vector<asio::ip::tcp::endpoint> candidates,
                                    std::chrono::steady_clock::time_point deadline, RememberedRtt remembered);

}  // namespace penstock::control
