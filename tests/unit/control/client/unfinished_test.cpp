// Between the commit and the moment when the user knows: a transfer whose end one of the two never saw is not over.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "control/receipt/receipt.h"
#include "tests/unit/control/client/scene.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::uint64_t small = 100'000;
constexpr std::uint64_t large = 3'000'000;

/// A plain file where a store wants its directory: nothing can be stored until it goes.
class Obstacle {
 public:
  explicit Obstacle(fs::path where) : where_(std::move(where)) { write_file(where_, "in the way"); }
  ~Obstacle() { fs::remove(where_); }
  Obstacle(const Obstacle&) = delete;
  Obstacle& operator=(const Obstacle&) = delete;

 private:
  fs::path where_;
};

struct Scene {
  Scene() {
    write_file(tree() / "sub" / "large", random_bytes_text(large));
    write_file(tree() / "small", random_bytes_text(small));
    fs::create_symlink("anywhere", tree() / "link");
    fs::create_directory(tree() / "nothing");
  }
  [[nodiscard]] fs::path tree() const { return work.path() / "tree"; }
  [[nodiscard]] fs::path daemon_receipts() const { return daemon.state() / "receipts"; }
  [[nodiscard]] fs::path client_receipts() const { return ann.home.path() / "home" / "receipts"; }
  [[nodiscard]] std::size_t journals() const {
    std::size_t found = 0;
    for (const auto& home : {daemon.state(), ann.home.path() / "home"})
      for (const auto& entry : fs::directory_iterator{home / "journals"})
        if (entry.path().extension() == ".journal") ++found;
    return found;
  }
  /// The daemon forgets once it has read the client's word, which nothing waits for.
  [[nodiscard]] bool journals_go() const {
    for (int tries = 0; tries < 6000 && journals() > 0; ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    return journals() == 0;
  }
  Result<TransferSummary> push(const std::string& to = "/there", const TransferOptions& options = {}) {
    return ann.client.push(to_target(tree(), to), options);
  }
  Result<TransferSummary> pull(const std::string& to = "back") {
    return ann.client.pull({{{"/there", "there", false}}, (work.path() / to).string(), false}, {});
  }

  Daemon daemon;
  TempDir work;
  Person ann{daemon};
};

void check_all_resumed(const Result<TransferSummary>& again) {
  if (!again) FAIL(again.error().message);
  CHECK(again->bytes == small + large);
  CHECK(again->bytes_resumed == small + large);
  CHECK(again->bytes_sent == 0);
  CHECK(again->files == 2);
  const auto receipt = read_receipt(again->receipt);
  REQUIRE(receipt);
  CHECK(verify_receipt(*receipt));
  CHECK(receipt->lines.size() == 2);
}

void check_exists(const Result<TransferSummary>& again) {
  REQUIRE_FALSE(again);
  CHECK(again.error().code == ErrorCode::FILE_EXISTS);
}

}  // namespace

TEST_CASE("unfinished: a daemon that could not store the receipt sends nothing twice, and gives one when it can") {
  Scene scene;
  {
    const Obstacle obstacle{scene.daemon_receipts()};
    const auto failed = scene.push();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().side == ErrorSide::remote);
    CHECK(scene.journals() == 1);
  }
  check_all_resumed(scene.push());
  CHECK(scene.journals_go());
  check_exists(scene.push());
}

TEST_CASE(
    "unfinished: a push whose receipt the client never stored resumes to one, whatever the rule for what exists") {
  Scene scene;
  TransferOptions options;
  const std::vector modes{OverwriteMode::never, OverwriteMode::skip, OverwriteMode::changed, OverwriteMode::always};
  const auto target = [](OverwriteMode mode) { return "/there" + std::to_string(static_cast<int>(mode)); };
  {
    const Obstacle obstacle{scene.client_receipts()};
    for (const auto mode : modes) {
      options.overwrite = mode;
      REQUIRE_FALSE(scene.push(target(mode), options));
    }
  }
  for (const auto mode : modes) {
    CAPTURE(target(mode));
    options.overwrite = mode;
    check_all_resumed(scene.push(target(mode), options));
  }
  CHECK(scene.journals_go());
}

TEST_CASE("unfinished: a pull whose receipt the client, or the daemon, never stored resumes to one") {
  Scene scene;
  REQUIRE(scene.push());
  CHECK(scene.journals_go());
  fs::rename(scene.daemon_receipts(), scene.work.path() / "kept-daemon");
  fs::rename(scene.client_receipts(), scene.work.path() / "kept-client");
  {
    const Obstacle obstacle{scene.client_receipts()};
    REQUIRE_FALSE(scene.pull("one"));
  }
  CHECK(scene.journals() == 1);
  fs::rename(scene.daemon_receipts(), scene.work.path() / "kept-one");
  {
    const Obstacle obstacle{scene.daemon_receipts()};
    REQUIRE_FALSE(scene.pull("two"));
  }
  CHECK(scene.journals() == 2);
  for (const std::string to : {"one", "two"}) {
    check_all_resumed(scene.pull(to));
    check_exists(scene.pull(to));
  }
  CHECK(scene.journals() == 0);
}

TEST_CASE("unfinished: until the user has been told, the same command is not met by its own files") {
  Scene scene;
  auto first = scene.push();
  REQUIRE(first);
  check_all_resumed(scene.push());
  auto pulled = scene.pull();
  REQUIRE(pulled);
  CHECK(scene.journals() > 0);
  pulled->until_told.reset();
  check_exists(scene.pull());
}

TEST_CASE("unfinished: what was left out then is left out again, and the rest is not sent twice") {
  Scene scene;
  REQUIRE(::mkfifo((scene.tree() / "fifo").c_str(), 0600) == 0);
  {
    const Obstacle obstacle{scene.client_receipts()};
    REQUIRE_FALSE(scene.push());
  }
  const auto again = scene.push();
  check_all_resumed(again);
  REQUIRE(again->partial);
  CHECK(again->partial->code == ErrorCode::PARTIAL);
}

TEST_CASE("unfinished: what is new at the source since then is all that is sent") {
  Scene scene;
  {
    const Obstacle obstacle{scene.client_receipts()};
    REQUIRE_FALSE(scene.push());
  }
  write_file(scene.tree() / "new", random_bytes_text(777));
  const auto again = scene.push();
  if (!again) FAIL(again.error().message);
  CHECK(again->bytes_sent == 777);
  CHECK(again->bytes_resumed == small + large);
}

TEST_CASE("unfinished: a target that somebody else has taken since then is a conflict, and stays") {
  Scene scene;
  {
    const Obstacle obstacle{scene.client_receipts()};
    REQUIRE_FALSE(scene.push());
  }
  fs::remove(scene.daemon.root() / "there" / "small");
  write_file(scene.daemon.root() / "there" / "small", "theirs");
  check_exists(scene.push());
  CHECK(read_file(scene.daemon.root() / "there" / "small") == "theirs");
}

TEST_CASE("unfinished: --no-resume sends all of it anew, over what the unfinished transfer itself has published") {
  Scene scene;
  {
    const Obstacle obstacle{scene.client_receipts()};
    REQUIRE_FALSE(scene.push());
  }
  TransferOptions options;
  options.resume = false;
  const auto again = scene.push("/there", options);
  if (!again) FAIL(again.error().message);
  CHECK(again->bytes_sent == small + large);
  CHECK(again->bytes_resumed == 0);
  CHECK(verify_receipt(*read_receipt(again->receipt)));
}

TEST_CASE("pull: the summary has the daemon's last numbers, and the receipt names the target") {
  Scene scene;
  REQUIRE(scene.push());
  const auto pulled = scene.pull();
  if (!pulled) FAIL(pulled.error().message);
  // No datagram holds more; all that was sent in the last half second is among them.
  CHECK(pulled->packets_sent * 65'507 >= small + large);
  CHECK(pulled->rtt_ms > 0);
  const auto receipt = read_receipt(pulled->receipt);
  REQUIRE(receipt);
  CHECK(receipt->header.destination == (scene.work.path() / "back").string());
}
