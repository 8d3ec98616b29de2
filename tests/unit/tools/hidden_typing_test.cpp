#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "common/unique_fd.h"
#include "tools/run/hidden_typing.h"

using namespace penstock;

namespace {

struct Terminal {
  Terminal() : master{::posix_openpt(O_RDWR | O_NOCTTY)} {
    REQUIRE(master);
    REQUIRE(::grantpt(master.get()) == 0);
    REQUIRE(::unlockpt(master.get()) == 0);
    side = UniqueFd{::open(::ptsname(master.get()), O_RDWR | O_NOCTTY)};
    REQUIRE(side);
  }
  [[nodiscard]] bool shows() const {
    termios mode{};
    REQUIRE(::tcgetattr(side.get(), &mode) == 0);
    return (mode.c_lflag & ECHO) != 0;
  }
  UniqueFd master;
  UniqueFd side;
};

}  // namespace

TEST_CASE("hidden typing: a terminal shows nothing from hide to show, and to the end at the latest") {
  Terminal terminal;
  REQUIRE(terminal.shows());
  {
    tools::HiddenTyping typing;
    typing.hide(terminal.side.get());
    CHECK_FALSE(terminal.shows());
    typing.hide(terminal.side.get());  // keeps what was before the first
    typing.show();
    CHECK(terminal.shows());
    typing.hide(terminal.side.get());
    CHECK_FALSE(terminal.shows());
  }
  CHECK(terminal.shows());
}

TEST_CASE("hidden typing: where there is no terminal nothing happens") {
  const UniqueFd nothing{::open("/dev/null", O_RDWR)};
  tools::HiddenTyping typing;
  typing.hide(nothing.get());
  typing.show();
  typing.hide(-1);
}
