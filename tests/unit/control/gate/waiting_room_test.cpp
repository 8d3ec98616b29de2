#include "control/gate/waiting_room.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

using namespace penstock;
using namespace penstock::control;

namespace {

constexpr AddressPrefix crowd{.value = 1, .v6 = false};
constexpr AddressPrefix stranger{.value = 2, .v6 = false};

/// Both ends of a connection; the near one is what the room holds.
struct Line {
  UniqueFd near;
  UniqueFd far;

  Line() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    near.reset(ends[0]);
    far.reset(ends[1]);
  }
  /// What the far end reads without waiting: 0 after a shutdown, -1 while the connection stands.
  [[nodiscard]] bool is_shut() const {
    char byte = 0;
    return ::recv(far.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
};

WaitingRoom::Ticket enter(WaitingRoom& room, AddressPrefix from, Line& line) {
  return room.enter(from, UniqueFd{::dup(line.near.get())});
}

}  // namespace

TEST_CASE("waiting room: a newcomer pushes out the oldest of the address that takes most places") {
  WaitingRoom room{4};
  std::array<Line, 5> lines;
  (void)enter(room, stranger, lines[0]);  // the oldest of all, but alone
  (void)enter(room, crowd, lines[1]);
  (void)enter(room, crowd, lines[2]);
  (void)enter(room, crowd, lines[3]);
  CHECK(room.waiting() == 4);
  (void)enter(room, stranger, lines[4]);
  CHECK(room.waiting() == 4);
  CHECK_FALSE(lines[0].is_shut());
  CHECK(lines[1].is_shut());
  CHECK_FALSE(lines[2].is_shut());
  CHECK_FALSE(lines[4].is_shut());
}

TEST_CASE("waiting room: from one address the newest get in, the oldest go") {
  WaitingRoom room{2};
  std::array<Line, 4> lines;
  for (auto& line : lines) (void)enter(room, crowd, line);
  CHECK(room.waiting() == 2);
  CHECK(lines[0].is_shut());
  CHECK(lines[1].is_shut());
  CHECK_FALSE(lines[2].is_shut());
  CHECK_FALSE(lines[3].is_shut());
}

TEST_CASE("waiting room: who leaves makes room, whether shown out or not") {
  WaitingRoom room{2};
  std::array<Line, 4> lines;
  const auto first = enter(room, crowd, lines[0]);
  const auto second = enter(room, crowd, lines[1]);
  room.leave(second);
  CHECK(room.waiting() == 1);
  (void)enter(room, crowd, lines[2]);
  CHECK_FALSE(lines[0].is_shut());
  (void)enter(room, crowd, lines[3]);
  CHECK(lines[0].is_shut());
  room.leave(first);  // it had no place any more
  CHECK(room.waiting() == 2);
}

TEST_CASE("waiting room: those shown out count until they are gone, up to as many again") {
  WaitingRoom room{1};
  std::array<Line, 2> lines;
  const auto first = enter(room, crowd, lines[0]);
  CHECK(room.has_room());
  (void)enter(room, crowd, lines[1]);
  CHECK_FALSE(room.has_room());
  room.leave(first);
  CHECK(room.has_room());
}
