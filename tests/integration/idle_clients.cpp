// Holds many proven sessions with one daemon open and asks nothing of it: the idle clients of scale_test.py, in one
// process, through the client's own code. Says `ready COUNT` when all are in, answers pings until its standard input
// ends, and then says `lost COUNT`, of sessions that ended before.
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "control/client/connection.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_context.h"
#include "control/session/session_link.h"

namespace {

using namespace penstock;
using namespace penstock::control;

// A daemon signs one handshake after another, at low priority: more at once would only wait there, and where the machine
// is busy some of them longer than the 10 s that they have.
constexpr std::size_t handshakes_at_once = 4;

struct Crowd {
  ClientConfig config;
  ClientHome& home;
  TlsContext& tls;
  asio::io_context& io;
  std::size_t wanted = 0;
  std::size_t started = 0;
  std::size_t in = 0;
  std::size_t lost = 0;
  bool ending = false;
  std::vector<std::shared_ptr<SessionLink>> links = {};

  asio::awaitable<void> come_in() {
    while (started < wanted) {
      ++started;
      auto opened = co_await async_open_session(config, home, tls);
      if (!opened) {
        std::fprintf(stderr, "%s\n", opened.error().message.c_str());
        std::exit(1);
      }
      links.push_back(opened->link);
      asio::co_spawn(io, stay(opened->link), asio::detached);
      if (++in == wanted) {
        std::printf("ready %zu\n", in);
        std::fflush(stdout);
      }
    }
  }

  asio::awaitable<void> stay(std::shared_ptr<SessionLink> link) {
    SessionLink::Handler ignore = [](proto::Envelope) -> asio::awaitable<Status> { co_return Status{}; };
    (void)co_await link->async_run(std::move(ignore));
    if (!ending) ++lost;
  }

  asio::awaitable<void> await_end() {
    asio::posix::stream_descriptor input{io, ::dup(0)};
    std::error_code ended;
    char byte = 0;
    while (!ended)
      co_await input.async_read_some(asio::buffer(&byte, 1), asio::redirect_error(asio::use_awaitable, ended));
    ending = true;
    std::printf("lost %zu\n", lost);
    std::fflush(stdout);
    for (const auto& link : links) link->end(Status{});
    io.stop();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: penstock-idle-clients HOME HOST PORT COUNT\n");
    return 2;
  }
  ClientConfig config;
  config.home = argv[1];
  config.host = argv[2];
  config.port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  auto home = ClientHome::open(config.home);
  auto tls = TlsContext::for_client();
  if (!home || !tls) return 1;
  asio::io_context io{1};
  Crowd crowd{
      .config = config, .home = *home, .tls = *tls, .io = io, .wanted = static_cast<std::size_t>(std::atoi(argv[4]))};
  for (std::size_t i = 0; i < handshakes_at_once; ++i) asio::co_spawn(io, crowd.come_in(), asio::detached);
  asio::co_spawn(io, crowd.await_end(), asio::detached);
  io.run();
  return 0;
}
