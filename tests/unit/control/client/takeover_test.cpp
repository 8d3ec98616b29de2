#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <future>
#include <optional>
#include <thread>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/client/connection.h"
#include "control/gate/client_home.h"
#include "control/gate/failure.h"
#include "control/gate/tls_context.h"
#include "tests/unit/control/client/scene.h"
#include "tests/unit/control/gate/loopback.h"

// Two commands of one client after the same target: the newer one goes on, the older one hears why it does not. And
// what another client gets that knows a transfer's id: nothing.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::size_t size = std::size_t{4} * 1024 * 1024;

/// Tells when the transfer has begun.
class Starting final : public Observer {
 public:
  void on_started(const TransferStarted& news) override {
    transfer = news.transfer;
    tell();
  }
  void tell() {
    if (!std::exchange(told_, true)) begun.set_value();
  }
  std::promise<void> begun;
  std::string transfer;  // in hex; set before `begun`

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
    first_transfer = starting.transfer;
    Listener listener;
    Client second{config, listener};
    second_end.emplace(newer(second, first_transfer));
    running.join();
  }
  std::string first_transfer;
  std::optional<Result<TransferSummary>> first_end;
  std::optional<Result<TransferSummary>> second_end;
};

void check_taken_over(const Two& two) {
  if (!*two.second_end) FAIL(two.second_end->error().message);
  REQUIRE_FALSE(*two.first_end);
  CHECK(two.first_end->error().code == ErrorCode::TRANSFER_ACTIVE);
  CHECK(two.first_end->error().message.find("has taken over") != std::string::npos);
}

/// Asks for a pull of /x under this id, in hex, as no command would; what the daemon has against it.
std::optional<Error> ask_for(const ClientConfig& config, const std::string& id, bool begins_anew) {
  asio::io_context io{1};
  auto home = must(ClientHome::open(config.home));
  auto tls = must(TlsContext::for_client());
  std::optional<Error> answer{Error{ErrorCode::PEER_LOST, "no answer"}};
  const auto play = [&]() -> asio::awaitable<void> {
    auto opened = co_await async_open_session(config, home, tls);
    if (!opened) co_return;
    const auto link_kept = opened->link;
    SessionLink* const link = link_kept.get();
    SessionLink::Handler handler = [&answer, link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (envelope.has_failure())
        answer = error_of_failure(envelope.failure());
      else if (envelope.has_transfer_opened())
        answer.reset();
      else
        co_return Status{};
      link->end(Status{});
      co_return Status{};
    };
    proto::Envelope open;
    auto* message = open.mutable_open_transfer();
    message->set_direction(proto::PULL);
    message->set_resume_key(std::string(32, 'k'));
    std::string name(16, '\0');
    REQUIRE(bytes::from_hex(id, std::as_writable_bytes(std::span{name})));
    message->set_transfer_id(name);
    message->set_begins_anew(begins_anew);
    message->add_roots()->set_path("/x");
    message->set_links(proto::KEEP);
    message->set_overwrite(proto::NEVER);
    message->set_digest(proto::XXH3);
    message->set_udp_payload_max(1200);
    link->send(std::move(open));
    (void)co_await link->async_run(std::move(handler));
  };
  asio::co_spawn(io, play, asio::detached);
  io.run();
  return answer;
}

std::string random_id() { return bytes::to_hex(crypto::random_array<16>()); }

void check_told_nothing(const std::optional<Error>& answer) {
  REQUIRE(answer);
  CHECK(answer->code == ErrorCode::USAGE);
  CHECK(answer->side == ErrorSide::remote);
  CHECK(answer->message == "the request makes no sense: its transfer id can not be used");
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
                [&](Client& client, auto&) { return client.push(to_target(work.path() / "b", "/x"), {}); }};
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
                [&](Client& client, auto&) { return client.pull(words, {}); }};
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
                [&](Client& client, auto&) {
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

TEST_CASE("takeover: who names a transfer that is another client's is refused, and changes nothing of it") {
  Daemon daemon;
  Person ann{daemon};
  Person bob{daemon};
  TempDir work;
  write_file(daemon.root() / "x", "content");
  const auto pulled = ann.client.pull({{{"/x", "x", false}}, (work.path() / "y").string(), false}, {});
  if (!pulled) FAIL(pulled.error().message);
  REQUIRE(ann.listener.started.size() == 1);
  const std::string id = ann.listener.started.front().transfer;
  const auto log = [&] { return must(must(open_sqlite_registry(daemon.state()))->recent_transfers(10)); };
  const fs::path receipt = daemon.state() / "receipts" / (id + ".receipt");
  const auto log_before = log();
  const auto receipt_before = read_file(receipt);
  REQUIRE(log_before.size() == 1);
  REQUIRE_FALSE(receipt_before.empty());
  for (const bool anew : {true, false}) check_told_nothing(ask_for(bob.config(daemon), id, anew));
  CHECK(log() == log_before);
  CHECK(read_file(receipt) == receipt_before);
  // It is the id alone that was wrong, and wrong for bob alone.
  CHECK_FALSE(ask_for(bob.config(daemon), random_id(), true));
  CHECK_FALSE(ask_for(ann.config(daemon), id, false));
}

TEST_CASE("takeover: another client that names a transfer which runs does not end it; its own client does") {
  Daemon daemon;
  Person ann{daemon};
  Person bob{daemon};
  TempDir work;
  write_file(daemon.root() / "x", random_bytes_text(size));
  const TransferWords words{{{"/x", "x", false}}, (work.path() / "y").string(), false};
  const Two two{ann.config(daemon), [&](Client& client) { return client.pull(words, endless()); },
                [&](Client& client, const std::string& id) {
                  for (const bool anew : {true, false}) check_told_nothing(ask_for(bob.config(daemon), id, anew));
                  return client.pull(words, {});
                }};
  check_taken_over(two);
  CHECK(read_file(work.path() / "y") == read_file(daemon.root() / "x"));
}

TEST_CASE("takeover: one transfer has one session, whatever command its client says that it is") {
  Daemon daemon;
  Person ann{daemon};
  TempDir work;
  write_file(daemon.root() / "x", random_bytes_text(size));
  const TransferWords words{{{"/x", "x", false}}, (work.path() / "y").string(), false};
  const Two two{ann.config(daemon), [&](Client& client) { return client.pull(words, endless()); },
                [&](Client&, const std::string& id) -> Result<TransferSummary> {
                  CHECK_FALSE(ask_for(ann.config(daemon), id, false));
                  return Error{ErrorCode::CANCELLED, "no command"};
                }};
  REQUIRE_FALSE(*two.first_end);
  CHECK(two.first_end->error().code == ErrorCode::TRANSFER_ACTIVE);
}
