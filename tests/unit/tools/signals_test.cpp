#include "tools/run/signals.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>
#include <vector>

namespace penstock::tools {
namespace {

using namespace std::chrono_literals;

/// What the handlers were told, to be waited for.
class Heard {
 public:
  void say(std::string what) {
    const std::lock_guard lock{mutex_};
    said_.push_back(std::move(what));
    changed_.notify_all();
  }
  /// Blocks until so many were said; the test's own timeout bounds it.
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return said_.size() >= count; });
    return said_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> said_;
};

/// Signal masks and dispositions belong to a process: each case has one of its own. Its checks are its exit status.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

SignalWatch::Handlers handlers_of(Heard& heard) {
  return {
      .on_stop = [&](int signal, unsigned count) { heard.say(std::to_string(signal) + "x" + std::to_string(count)); },
      .on_grace_over = {},
      .grace = {},
      .on_usr1 = [&] { heard.say("usr1"); }};
}

TEST_CASE("signals: INT, TERM and HUP are counted, USR1 is not") {
  CHECK(in_child([] {
          Heard heard;
          const SignalWatch watch{handlers_of(heard)};
          const std::pair<int, std::string> steps[] = {
              {SIGUSR1, "usr1"}, {SIGTERM, "15x1"}, {SIGUSR1, "usr1"}, {SIGINT, "2x2"}, {SIGHUP, "1x3"}};
          std::size_t count = 0;
          for (const auto& each : steps) {
            const auto& signal = each.first;
            const auto& expected = each.second;
            ::kill(::getpid(), signal);
            if (heard.wait_for(++count).back() != expected) return false;
          }
          return true;
        }) == 0);
}

TEST_CASE("signals: when the grace is over the first signal is named, once") {
  CHECK(in_child([] {
          Heard heard;
          auto handlers = handlers_of(heard);
          handlers.on_grace_over = [&](int signal) { heard.say("over " + std::to_string(signal)); };
          handlers.grace = 1ms;
          const SignalWatch watch{std::move(handlers)};
          ::kill(::getpid(), SIGINT);
          if (heard.wait_for(2) != std::vector<std::string>{"2x1", "over 2"}) return false;
          ::kill(::getpid(), SIGTERM);
          return heard.wait_for(3).back() == "15x2";
        }) == 0);
}

TEST_CASE("signals: a HUP that was ignored stays ignored, and a broken pipe kills nobody") {
  CHECK(in_child([] {
          ::signal(SIGHUP, SIG_IGN);
          Heard heard;
          const SignalWatch watch{handlers_of(heard)};
          ::kill(::getpid(), SIGHUP);
          ::kill(::getpid(), SIGPIPE);
          ::kill(::getpid(), SIGINT);
          return heard.wait_for(1) == std::vector<std::string>{"2x1"};
        }) == 0);
}

TEST_CASE("signals: the watch ends without a signal, and no handler runs afterwards") {
  CHECK(in_child([] {
          Heard heard;
          { const SignalWatch watch{handlers_of(heard)}; }
          ::kill(::getpid(), SIGTERM);
          const SignalWatch again{handlers_of(heard)};  // the blocked one is pending and reaches the next watch
          return heard.wait_for(1) == std::vector<std::string>{"15x1"};
        }) == 0);
}

}  // namespace
}  // namespace penstock::tools
