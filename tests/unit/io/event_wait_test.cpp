#include "dataplane/io/event_wait.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <thread>

#include <doctest/doctest.h>

#include "common/unique_fd.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

struct Watched {
  Watched() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = 7;
    REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, raised.get(), &event) == 0);
  }
  void raise() const {
    const std::uint64_t one = 1;
    REQUIRE(::write(raised.get(), &one, sizeof one) == sizeof one);
  }
  UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  UniqueFd raised{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::array<epoll_event, 4> events{};
};

}  // namespace

TEST_CASE("event wait: what has happened is told at once, with and without busy polling") {
  for (const Duration busy : {Duration{0}, Duration{100us}}) {
    Watched watched;
    watched.raise();
    const EventWait wait{busy};
    for (const auto timeout : {std::optional<Duration>{}, std::optional<Duration>{0ns}, std::optional<Duration>{1h}}) {
      REQUIRE(wait.wait(watched.epoll.get(), watched.events, timeout) == 1);
      CHECK(std::uint64_t{watched.events[0].data.u64} == 7);
    }
  }
}

TEST_CASE("event wait: it never returns before its time without an event, however long it polls") {
  for (const Duration busy : {Duration{0}, Duration{50us}, Duration{10ms}}) {
    Watched watched;
    const EventWait wait{busy};
    for (const Duration timeout : {Duration{0ns}, Duration{30us}, Duration{2ms}}) {
      const TimePoint begun = monotonic_now();
      CHECK(wait.wait(watched.epoll.get(), watched.events, timeout) == 0);
      CHECK(monotonic_now() - begun >= timeout);
    }
  }
}

TEST_CASE("event wait: what happens during the polling or the sleep ends it") {
  for (const Duration busy : {Duration{0}, Duration{20us}, Duration{10s}}) {
    Watched watched;
    const EventWait wait{busy};
    std::thread other{[&] { watched.raise(); }};
    CHECK(wait.wait(watched.epoll.get(), watched.events, std::nullopt) == 1);
    other.join();
  }
}

}  // namespace penstock::io
