#include "tools/run/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <utility>

#include "common/check.h"

namespace penstock::tools {
namespace {

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SignalWatch::SignalWatch(Handlers handlers) : handlers_(std::move(handlers)) {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);

  sigset_t set;
  sigemptyset(&set);
  // A shell starts its background jobs with INT ignored; who sends one by hand still means it, as with rsync and scp.
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, signal);
  if (!is_ignored(SIGHUP)) sigaddset(&set, SIGHUP);
  PENSTOCK_CHECK(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  ended_.reset(::eventfd(0, EFD_CLOEXEC));
  PENSTOCK_CHECK(signals_.get() >= 0 && ended_.get() >= 0);
  thread_ = std::thread{[this] { watch(); }};
}

SignalWatch::~SignalWatch() {
  const std::uint64_t one = 1;
  PENSTOCK_CHECK(::write(ended_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
}

void SignalWatch::watch() {
  using Clock = std::chrono::steady_clock;
  unsigned count = 0;
  int first = 0;
  std::optional<Clock::time_point> deadline;
  while (true) {
    int wait_ms = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
      wait_ms = static_cast<int>(std::max<std::int64_t>(left, 0));
    }
    pollfd fds[] = {{signals_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
    const int ready = ::poll(fds, 2, wait_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (fds[1].revents != 0) return;
    if (ready == 0 && deadline) {
      deadline.reset();
      handlers_.on_grace_over(first);
      continue;
    }
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGUSR1) {
      if (handlers_.on_usr1) handlers_.on_usr1();
      continue;
    }
    if (++count == 1) {
      first = signal;
      if (handlers_.on_grace_over) deadline = Clock::now() + handlers_.grace;
    }
    handlers_.on_stop(signal, count);
  }
}

}  // namespace penstock::tools
