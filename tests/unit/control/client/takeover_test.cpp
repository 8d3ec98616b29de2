#include <doctest/doctest.h>

#include <future>
#include <thread>

#include "tests/unit/control/client/scene.h"

// Two commands of one client after the same target: the newer one goes on, the older one hears why it does not.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::size_t size = std::size_t{4} * 1024 * 1024;

/// Tells when the transfer has begun.
class Starting final : public Observer {
 public:
  void on_started(const TransferStarted&) override { tell(); }
  void tell() {
    if (!std::exchange(told_, true)) begun.set_value();
  }
  std::promise<void> begun;

 private:
  bool told_ = false;
};

TransferOptions at(DataRate rate) {
  TransferOptions options;
  options.rate = rate;
  return options;
}
/// Five minutes, if nobody comes in between.
TransferOptions endless() { return at(DataRate::bits_per_second(100'000)); }
/// Long enough for the other one to be met, as a rule; this one is waited for.
TransferOptions slow() { return at(DataRate::megabits_per_second(4)); }

/// Runs `older` until it has begun, then `newer` to its end.
struct Two {
  template <class Older, class Newer>
  Two(const ClientConfig& config, Older older, Newer newer) {
    Starting starting;
    auto begun = starting.begun.get_future();
    Client first{config, starting};
    std::thread running{[&] {
      first_end.emplace(older(first));
      starting.tell();  // should it have ended before it began
    }};
    begun.wait();
    Listener listener;
    Client second{config, listener};
    second_end.emplace(newer(second));
    running.join();
  }
  std::optional<Result<TransferSummary>> first_end;
  std::optional<Result<TransferSummary>> second_end;
};

void check_taken_over(const Two& two) {
  if (!*two.second_end) FAIL(two.second_end->error().message);
  REQUIRE_FALSE(*two.first_end);
  CHECK(two.first_end->error().code == ErrorCode::TRANSFER_ACTIVE);
  CHECK(two.first_end->error().message.find("has taken over") != std::string::npos);
}

}  // namespace

TEST_CASE("takeover: a newer push of another source to the same target ends the older one") {
  Daemon daemon;
  Person ann{daemon};
  TempDir work;
  write_file(work.path() / "a", random_bytes_text(size));
  write_file(work.path() / "b", random_bytes_text(size));
  const Two two{ann.config(daemon),
                [&](Client& client) { return client.push(to_target(work.path() / "a", "/x"), endless()); },
                [&](Client& client) { return client.push(to_target(work.path() / "b", "/x"), {}); }};
  check_taken_over(two);
  CHECK(read_file(daemon.root() / "x") == read_file(work.path() / "b"));
}

TEST_CASE("takeover: the same pull twice goes on in the newer one, with what the older one had") {
  Daemon daemon;
  Person ann{daemon};
  TempDir work;
  write_file(daemon.root() / "x", random_bytes_text(size));
  const TransferWords words{{{"/x", "x", false}}, (work.path() / "y").string(), false};
  const Two two{ann.config(daemon), [&](Client& client) { return client.pull(words, endless()); },
                [&](Client& client) { return client.pull(words, {}); }};
  check_taken_over(two);
  CHECK(read_file(work.path() / "y") == read_file(daemon.root() / "x"));
}

TEST_CASE("takeover: a push of other files into the same directory, and a dry run, leave the older one alone") {
  Daemon daemon;
  Person ann{daemon};
  TempDir work;
  fs::create_directory(daemon.root() / "dir");
  write_file(work.path() / "a", random_bytes_text(size / 4));
  write_file(work.path() / "b", "b");
  const Two two{ann.config(daemon),
                [&](Client& client) { return client.push(to_target(work.path() / "a", "/dir"), slow()); },
                [&](Client& client) {
                  TransferOptions dry;
                  dry.dry_run = true;
                  auto looked = client.push(to_target(work.path() / "a", "/dir"), dry);
                  if (!looked) return looked;
                  return client.push(to_target(work.path() / "b", "/dir"), {});
                }};
  if (!*two.second_end) FAIL(two.second_end->error().message);
  if (!*two.first_end) FAIL(two.first_end->error().message);
  CHECK(read_file(daemon.root() / "dir" / "a") == read_file(work.path() / "a"));
  CHECK(read_file(daemon.root() / "dir" / "b") == "b");
}
