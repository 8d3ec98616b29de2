#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/bytes/view.h"
#include "common/unique_fd.h"
#include "control/gate/capabilities.h"
#include "control/gate/failure.h"
#include "control/session/lane_setup.h"
#include "control/transfer/message_codec.h"
#include "dataplane/engine/blank_windows.h"
#include "dataplane/io/worker.h"
#include "tests/unit/control/client/gate_daemon.h"
#include "tests/unit/control/client/scene.h"

// A client that begins before the daemon has answered (control/client/README, "Ahead of the answer"), and an answer
// that is not what it presumed.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::uint64_t file_size = 256 * KiB;  // less than the initial credit

/// A directory, which the sink makes as soon as it hears of it, with one file.
proto::Envelope segment() {
  proto::Envelope envelope;
  envelope.set_id(1);
  storage::ManifestEntry top;
  top.type = storage::FileType::directory;
  top.mode = 0755;
  encode_entry(top, *envelope.mutable_manifest_segment()->add_entries());
  storage::ManifestEntry file;
  file.path = "file";
  file.type = storage::FileType::regular;
  file.size = file_size;
  file.mode = 0644;
  encode_entry(file, *envelope.mutable_manifest_segment()->add_entries());
  return envelope;
}
proto::Envelope end() {
  proto::Envelope envelope;
  envelope.set_id(2);
  envelope.mutable_manifest_end()->set_entries(2);
  envelope.mutable_manifest_end()->set_bytes(file_size);
  return envelope;
}

/// Tells that all bytes were acknowledged.
class Drain final : public io::LaneObserver {
 public:
  explicit Drain(std::function<void()> drained) : drained_(std::move(drained)) {}
  void on_event(const engine::SenderEvent& event) override {
    if (std::get_if<engine::Drained>(&event) != nullptr) drained_();
  }

 private:
  std::function<void()> drained_;
};

/// A daemon's gate, and behind it a sender that has manifest and bytes at the client before it answers the request.
class HastyDaemon {
 public:
  using Answer = std::function<proto::Envelope(const proto::OpenTransfer& open)>;
  /// How the next pulls are answered. `then` follows what is behind the answer, once `shown` is true.
  void answer_by(Answer answer, std::function<bool()> shown = {}, std::optional<proto::Envelope> then = {}) {
    asio::post(gate_.io(), [this, answer = std::move(answer), shown = std::move(shown), then = std::move(then)] {
      answer_ = answer;
      shown_ = shown;
      then_ = then;
    });
  }
  [[nodiscard]] std::uint16_t port() const { return gate_.port(); }
  std::string token() { return gate_.token(); }

 private:
  SessionLink::Handler meet(DaemonSession& session, SessionLink& link) {
    return [this, &session, &link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      auto keys = take_lane_keys(session.secrets, session.agreement, End::daemon);
      const ConnectionId own = keys.own_id;
      AsyncEvent news{gate_.io().get_executor()};
      bool drained = false;
      const auto watch = std::make_shared<Drain>([&] {
        asio::post(gate_.io(), [&] {
          drained = true;
          news.notify();
        });
      });
      worker_->add_sender(own, engine::Sender{{}, std::move(keys), Rng{7}}, std::make_shared<engine::BlankSource>(),
                          std::nullopt, watch);
      worker_->with_sender(own, [](engine::Sender& sender, TimePoint) {
        for (const auto& message : {segment(), end()})
          (void)sender.queue_control(bytes::as_bytes(message.SerializeAsString()));
        sender.offer(TransferOffset{file_size});
        sender.finish(TransferOffset{file_size});
      });
      while (!drained && !link.ended()) co_await news.async_wait(std::chrono::milliseconds{50});
      auto answer = answer_(envelope.open_transfer());
      const bool opened = answer.has_transfer_opened();
      link.send(std::move(answer));
      if (opened) {
        link.send(segment());
        link.send(end());
      }
      asio::steady_timer timer{gate_.io()};
      while (shown_ && !shown_() && !link.ended()) {
        timer.expires_after(std::chrono::milliseconds{5});
        co_await timer.async_wait(asio::use_awaitable);
      }
      if (then_) link.send(*then_);
      bool gone = false;
      worker_->remove(own, [&] {
        asio::post(gate_.io(), [&] {
          gone = true;
          news.notify();
        });
      });
      while (!gone) co_await news.async_wait();
      co_return Status{};
    };
  }
  static std::unique_ptr<io::Worker> make_worker() {
    io::WorkerConfig config;
    config.listen = {io::Endpoint::v4({127, 0, 0, 1}, 0)};
    return must(io::Worker::create(config));
  }

  Answer answer_;
  std::function<bool()> shown_;
  std::optional<proto::Envelope> then_;
  std::unique_ptr<io::Worker> worker_ = make_worker();
  GateDaemon gate_{{.meet = [this](DaemonSession& session, SessionLink& link) { return meet(session, link); },
                    .udp_port = worker_->local_endpoints().front().port(),
                    .capabilities = {std::string{capability_ahead}}}};
};

/// As it was asked for.
proto::Envelope opened(const proto::OpenTransfer& open) {
  proto::Envelope envelope;
  auto& answer = *envelope.mutable_transfer_opened();
  answer.set_transfer_id(open.transfer_id());
  answer.set_udp_payload_max(1200);
  answer.set_data(open.data());
  return envelope;
}
proto::Envelope refusal() { return failure_envelope({ErrorCode::PERMISSION_DENIED, "that is not for you"}); }

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator{directory}) found.push_back(entry.path());
  return found;
}
std::vector<fs::path> journals_of(const Person& person) {
  auto found = files_in(person.home.path() / "home" / "journals");
  std::erase_if(found, [](const fs::path& path) { return path.extension() != ".journal"; });
  return found;
}

TransferWords pull_to(const TempDir& work) {
  return {{{"/there", "there", false}}, (work.path() / "there").string(), false};
}

/// A gate that says to each request what `answer` says. The last word waits until `shown` is true.
class WordyDaemon {
 public:
  using Answer = std::function<std::vector<proto::Envelope>(const proto::OpenTransfer& open)>;
  explicit WordyDaemon(Answer answer, std::function<bool()> shown, std::vector<std::string> capabilities = {},
                       std::function<void()> on_proof = {})
      : answer_(std::move(answer)),
        shown_(std::move(shown)),
        gate_{{.meet = [this](DaemonSession&, SessionLink& link) { return meet(link); },
               .capabilities = std::move(capabilities),
               .on_proof = std::move(on_proof)}} {}
  [[nodiscard]] std::uint16_t port() const { return gate_.port(); }
  std::string token() { return gate_.token(); }

 private:
  SessionLink::Handler meet(SessionLink& link) {
    return [this, &link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      auto words = answer_(envelope.open_transfer());
      const auto last = std::move(words.back());
      words.pop_back();
      const bool waits = !words.empty();
      for (auto& word : words) link.send(std::move(word));
      asio::steady_timer timer{gate_.io()};
      while (waits && !shown_() && !link.ended()) {
        timer.expires_after(std::chrono::milliseconds{5});
        co_await timer.async_wait(asio::use_awaitable);
      }
      link.send(last);
      co_return Status{};
    };
  }

  Answer answer_;
  std::function<bool()> shown_;
  GateDaemon gate_;
};

/// A pull that is opened, then ends: what it leaves is a journal.
std::vector<proto::Envelope> opened_then_ended(const proto::OpenTransfer& open) {
  auto answer = opened(open);
  answer.mutable_transfer_opened()->set_transfer_id(std::string(16, 't'));
  return {answer, segment(), end(), failure_envelope({ErrorCode::IO_ERROR, "the disk is gone"})};
}

}  // namespace

TEST_CASE("ahead: what a daemon sends before its answer counts once that is here, so that the rest means something") {
  HastyDaemon daemon;
  Person ann{daemon};
  TempDir work;
  daemon.answer_by(
      opened, [&] { return fs::exists(work.path() / "there"); }, refusal());
  const auto pulled = ann.client.pull(pull_to(work), {});
  REQUIRE_FALSE(pulled);
  CHECK(pulled.error().code == ErrorCode::PERMISSION_DENIED);
  CHECK(fs::is_directory(work.path() / "there"));
  CHECK(ann.listener.started.size() == 1);
  CHECK(journals_of(ann).size() == 1);  // of a transfer that has begun
}

TEST_CASE("ahead: an answer that is not to what was begun leaves nothing of what came before it or behind it") {
  struct Case {
    const char* what;
    HastyDaemon::Answer answer;
    ErrorCode code;
    const char* says;
  };
  const std::vector<Case> cases{
      {"a refusal", [](const proto::OpenTransfer&) { return refusal(); }, ErrorCode::PERMISSION_DENIED,
       "that is not for you"},
      {"another transfer",
       [](const proto::OpenTransfer& open) {
         auto answer = opened(open);
         answer.mutable_transfer_opened()->set_transfer_id(std::string(16, 'x'));
         return answer;
       },
       ErrorCode::INTERNAL, "the daemon opens another transfer than was asked for"},
      {"no transfer",
       [](const proto::OpenTransfer& open) {
         auto answer = opened(open);
         answer.mutable_transfer_opened()->clear_transfer_id();
         return answer;
       },
       ErrorCode::INTERNAL, "the daemon named no transfer"},
      {"other terms",
       [](const proto::OpenTransfer& open) {
         auto answer = opened(open);
         answer.mutable_transfer_opened()->set_rate_cap_bps(1'000'000);
         return answer;
       },
       ErrorCode::INTERNAL, "the daemon opens the transfer by other terms than it let us begin by"},
  };
  HastyDaemon daemon;
  Person ann{daemon};
  for (const auto& hostile : cases) {
    CAPTURE(hostile.what);
    TempDir work;
    daemon.answer_by(hostile.answer, {}, refusal());  // the latter ends what has wrongly begun
    const auto pulled = ann.client.pull(pull_to(work), {});
    REQUIRE_FALSE(pulled);
    CHECK(pulled.error().code == hostile.code);
    CHECK(pulled.error().side == ErrorSide::remote);
    CHECK(pulled.error().message == hostile.says);
    CHECK(files_in(work.path()).empty());
    CHECK(journals_of(ann).empty());
    CHECK(ann.listener.started.empty());
    CHECK(ann.listener.files.empty());
    CHECK(ann.listener.warnings.empty());
  }
}

TEST_CASE("ahead: what is wrong at our own end is told once the daemon is proven, and not before") {
  std::atomic<bool> silent = false;
  std::promise<void> over;
  WordyDaemon daemon{[](const proto::OpenTransfer& open) { return std::vector{opened(open)}; },
                     [] { return true; },
                     {std::string{capability_ahead}},
                     [&silent, ended = over.get_future().share()] {
                       if (silent) ended.wait();
                     }};
  Person ann{daemon};
  TempDir work;
  TransferOptions options;
  options.fec = {.mode = engine::FecMode::fixed, .sources = 8, .repairs = 1};  // which this daemon does not know
  const auto told = ann.client.pull(pull_to(work), options);
  REQUIRE_FALSE(told);
  CHECK(told.error().code == ErrorCode::VERSION_MISMATCH);
  silent = true;
  auto config = ann.config(daemon);
  config.connect_timeout = std::chrono::seconds{3};
  const auto unproven = Client{config, ann.listener}.pull(pull_to(work), options);
  over.set_value();
  REQUIRE_FALSE(unproven);
  CHECK(unproven.error().code == ErrorCode::TIMED_OUT);
  CHECK(journals_of(ann).empty());
}

TEST_CASE("ahead: a busy daemon, asked again, hears as at first that what an earlier run left is not wanted") {
  std::vector<bool> resumes;
  TempDir work;
  WordyDaemon daemon{[&](const proto::OpenTransfer& open) {
                       resumes.push_back(open.resume());
                       if (open.resume()) return opened_then_ended(open);
                       if (resumes.size() < 3) return std::vector{failure_envelope({ErrorCode::SERVER_BUSY, "later"})};
                       return std::vector{refusal()};
                     },
                     [&] { return fs::exists(work.path() / "there"); }};
  Person ann{daemon};
  const auto first = ann.client.pull(pull_to(work), {});
  REQUIRE_FALSE(first);
  CHECK(first.error().code == ErrorCode::IO_ERROR);
  REQUIRE(journals_of(ann).size() == 1);
  TransferOptions anew;
  anew.resume = false;
  const auto pulled = ann.client.pull(pull_to(work), anew);
  REQUIRE_FALSE(pulled);
  CHECK(pulled.error().code == ErrorCode::PERMISSION_DENIED);
  CHECK(resumes == std::vector{true, false, false});
}

TEST_CASE("ahead: the same command that holds the journal, and whose request comes late, is taken over all the same") {
  std::optional<UniqueFd> held;
  int asked = 0;
  TempDir work;
  WordyDaemon daemon{[&](const proto::OpenTransfer& open) {
                       if (!open.only_take_over()) return held ? std::vector{refusal()} : opened_then_ended(open);
                       // The other one's request was not here when it was asked first.
                       if (++asked == 2) held->reset();
                       proto::Envelope done;
                       done.mutable_done();
                       return std::vector{done};
                     },
                     [&] { return fs::exists(work.path() / "there"); }};
  Person ann{daemon};
  const auto first = ann.client.pull(pull_to(work), {});
  REQUIRE_FALSE(first);
  CHECK(first.error().code == ErrorCode::IO_ERROR);
  REQUIRE(journals_of(ann).size() == 1);
  held.emplace(::open(journals_of(ann).front().c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(held->get(), LOCK_EX | LOCK_NB) == 0);
  const auto pulled = ann.client.pull(pull_to(work), {});
  REQUIRE_FALSE(pulled);
  CHECK(pulled.error().code == ErrorCode::PERMISSION_DENIED);
  CHECK(asked == 2);
}
