#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "control/receipt/receipt_store.h"
#include "tests/unit/control/client/scene.h"

// A real daemon and real clients in one process, over loopback sockets: what the two promise each other.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

void set_mtime(const fs::path& path, std::int64_t seconds, long nanoseconds) {
  const std::array<timespec, 2> times{{{seconds, nanoseconds}, {seconds, nanoseconds}}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

/// Compares names, kinds, contents, modes, link targets and, for files and directories, mtimes.
void check_equal_trees(const fs::path& a, const fs::path& b) {
  std::vector<std::string> left;
  std::vector<std::string> right;
  for (const auto& entry : fs::recursive_directory_iterator{a}) left.push_back(entry.path().lexically_relative(a));
  for (const auto& entry : fs::recursive_directory_iterator{b}) right.push_back(entry.path().lexically_relative(b));
  std::sort(left.begin(), left.end());
  std::sort(right.begin(), right.end());
  CHECK(left == right);
  for (const auto& name : left) {
    CAPTURE(name);
    struct stat from {};
    struct stat to {};
    REQUIRE(::lstat((a / name).c_str(), &from) == 0);
    REQUIRE(::lstat((b / name).c_str(), &to) == 0);
    CHECK((from.st_mode & S_IFMT) == (to.st_mode & S_IFMT));
    if (S_ISLNK(from.st_mode)) {
      CHECK(fs::read_symlink(a / name) == fs::read_symlink(b / name));
      continue;
    }
    CHECK((from.st_mode & 0777) == (to.st_mode & 0777));
    CHECK(from.st_mtim.tv_sec == to.st_mtim.tv_sec);
    CHECK(from.st_mtim.tv_nsec == to.st_mtim.tv_nsec);
    if (S_ISREG(from.st_mode)) CHECK(read_file(a / name) == read_file(b / name));
  }
}

/// Odd names, links that point anywhere, empty and nested directories, modes, nanosecond times.
void make_odd_tree(const fs::path& root) {
  write_file(root / "empty", "");
  write_file(root / "one byte", "x");
  write_file(root / "-leading", "dash");
  write_file(root / "new\nline", "text");
  write_file(root / "utf8-\xc3\xa9", "e");
  write_file(root / "not-utf8-\xff\xfe", "bytes");
  write_file(root / "sub/deeper/block", random_bytes_text(1024 * 1024));
  write_file(root / "sub/deeper/block+1", random_bytes_text(1024 * 1024 + 1));
  write_file(root / "sub.b", "sorts between sub and its children, were it not for components");
  write_file(root / "three", random_bytes_text(3 * 1024 * 1024 - 17));
  fs::create_directories(root / "hollow/inside");
  fs::create_symlink("/etc/passwd", root / "absolute link");
  fs::create_symlink("../../nowhere", root / "sub/dangling");
  write_file(root / "read-only", "r");
  ::chmod((root / "read-only").c_str(), 0444);
  ::chmod((root / "sub/deeper/block").c_str(), 0751);
  set_mtime(root / "one byte", 1'000'000'000, 123'456'789);
  set_mtime(root / "hollow", 1'100'000'000, 987'654'321);
}

}  // namespace

TEST_CASE("end to end: an odd tree pushed and pulled back is the same tree, with receipts that verify") {
  Daemon daemon;
  Person ann{daemon};
  TempDir work;
  make_odd_tree(work.path() / "tree");

  const auto pushed = ann.client.push(to_target(work.path() / "tree", "/there"), {});
  if (!pushed) FAIL(pushed.error().message);
  CHECK(pushed->bytes == pushed->bytes_sent);
  CHECK(pushed->files == 11);
  CHECK_FALSE(pushed->partial);
  check_equal_trees(work.path() / "tree", daemon.root() / "there");

  const auto receipt = read_receipt(pushed->receipt);
  REQUIRE(receipt);
  CHECK(verify_receipt(*receipt));
  CHECK(check_receipt(*receipt, daemon.root() / "there"));
  CHECK(check_receipt(*receipt, work.path() / "tree"));
  const auto theirs = read_receipt(*ReceiptStore::of_state(daemon.state()).find(pushed->transfer));
  REQUIRE(theirs);
  CHECK(encode_receipt(*theirs) == encode_receipt(*receipt));

  const auto pulled = ann.client.pull({{{"/there", "there", false}}, (work.path() / "back").string(), false}, {});
  if (!pulled) FAIL(pulled.error().message);
  check_equal_trees(work.path() / "tree", work.path() / "back");
  const auto second = read_receipt(pulled->receipt);
  REQUIRE(second);
  CHECK(verify_receipt(*second));
  CHECK(check_receipt(*second, work.path() / "back"));
}

TEST_CASE("end to end: a daemon that discards stores nothing, says so, and signs nothing") {
  Daemon daemon{{"rw:/"}, [](ServerConfig& config) { config.discard = true; }};
  Person ann{daemon};
  TempDir work;
  make_odd_tree(work.path() / "tree");
  const auto pushed = ann.client.push(to_target(work.path() / "tree", "/there"), {});
  if (!pushed) FAIL(pushed.error().message);
  CHECK(pushed->discarded);
  REQUIRE(pushed->partial);
  CHECK(pushed->partial->code == ErrorCode::PARTIAL);
  CHECK(pushed->receipt.empty());
  CHECK(pushed->digest.empty());
  CHECK(pushed->files == 11);
  CHECK(pushed->bytes == pushed->bytes_sent);
  CHECK(pushed->bytes > 5 * 1024 * 1024);
  REQUIRE(ann.listener.warnings.size() == 1);
  CHECK(ann.listener.warnings[0].message.find("nothing is stored") != std::string::npos);
  CHECK(fs::is_empty(daemon.root()));
  CHECK(fs::is_empty(daemon.state() / "journals"));
  CHECK_FALSE(ReceiptStore::of_state(daemon.state()).find(pushed->transfer));
  CHECK_FALSE(ReceiptStore::of_home(ann.home.path() / "home").find(pushed->transfer));

  // The same words again begin anew, and a pull is a pull.
  const auto again = ann.client.push(to_target(work.path() / "tree", "/there"), {});
  REQUIRE(again);
  CHECK(again->bytes_sent == pushed->bytes_sent);
  write_file(daemon.root() / "kept", "kept");
  const auto pulled = ann.client.pull({{{"/kept", "kept", false}}, (work.path() / "kept").string(), false}, {});
  REQUIRE(pulled);
  CHECK_FALSE(pulled->discarded);
  CHECK_FALSE(pulled->partial);
  CHECK(verify_receipt(*read_receipt(pulled->receipt)));
}

TEST_CASE("end to end: a daemon that discards asks for the grants that storing would need") {
  Daemon daemon{{"r:/"}, [](ServerConfig& config) { config.discard = true; }};
  Person ann{daemon};
  TempDir work;
  write_file(work.path() / "file", "x");
  const auto refused = ann.client.push(to_target(work.path() / "file", "/there"), {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::PERMISSION_DENIED);
}
