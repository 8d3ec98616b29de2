#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/crypto/random.h"
#include "control/client/client.h"
#include "control/gate/identity.h"
#include "control/gate/token.h"
#include "control/receipt/receipt_store.h"
#include "control/registry/sqlite_registry.h"
#include "control/server/server.h"
#include "control/session/wall_clock.h"

// A real daemon and real clients in one process, over loopback sockets: what the two promise each other.

using namespace penstock;
using namespace penstock::control;
namespace fs = std::filesystem;

namespace {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (fs::temp_directory_path() / "penstock-e2e-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class QuietServer final : public ServerObserver {
 public:
  void on_listening(const std::string&, const std::string&) override {}
  void on_log(LogLevel level, std::string_view event, std::string_view message, LogFields) override {
    const std::lock_guard lock{mutex_};
    lines_.push_back(std::string{to_string(level)} + " " + std::string{event} + " " + std::string{message});
    if (std::getenv("PENSTOCK_TEST_LOG") != nullptr) ::fprintf(stderr, "%s\n", lines_.back().c_str());
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class Listener final : public Observer {
 public:
  void on_warning(const Warning& warning) override { warnings.push_back(warning.error); }
  void on_entry(const RemoteEntry& entry) override { entries.push_back(entry); }
  void on_file(const FileNews& news) override { files.push_back(news); }
  void on_started(const TransferStarted& news) override { started.push_back(news); }
  std::vector<Error> warnings;
  std::vector<RemoteEntry> entries;
  std::vector<FileNews> files;
  std::vector<TransferStarted> started;
};

/// A daemon on a thread, serving a fresh directory.
class Daemon {
 public:
  explicit Daemon(const std::vector<std::string>& grants = {"rw:/"}) : grants_(grants) {
    fs::create_directory(dir_.path() / "root");
    ServerConfig config;
    config.root = dir_.path() / "root";
    config.state = dir_.path() / "state";
    config.listen = {{"127.0.0.1", 0}};
    auto server = Server::create(config, observer_);
    if (!server) FAIL(server.error().message);
    server_ = std::move(*server);
    thread_ = std::thread{[this] { (void)server_->run(); }};
  }
  ~Daemon() {
    server_->request_stop();
    server_->request_stop();
    thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const { return server_->addresses().front().port; }
  [[nodiscard]] fs::path root() const { return dir_.path() / "root"; }
  [[nodiscard]] fs::path state() const { return dir_.path() / "state"; }
  [[nodiscard]] Server& server() { return *server_; }

  std::string token(const std::string& user = "ann") {
    auto registry = open_sqlite_registry(state());
    REQUIRE(registry);
    auto identity = Identity::load_or_create(state());
    REQUIRE(identity);
    auto token = make_token(identity->pin(), "");
    TokenRecord record;
    record.id = token.id;
    record.secret_sha256 = token_secret_digest(token.secret.view());
    record.user = user;
    for (const auto& grant : grants_) record.grants.push_back(parse_grant(grant).value());
    record.created = UnixSeconds{unix_now()};
    record.expires = UnixSeconds{unix_now() + 3600};
    REQUIRE((*registry)->add_token(record));
    return encode_token(token);
  }

 private:
  std::vector<std::string> grants_;
  TempDir dir_;
  QuietServer observer_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

/// A registered client with a home of its own.
struct Person {
  explicit Person(Daemon& daemon) : client(config(daemon), listener) {
    const auto registered = client.register_client(daemon.token());
    if (!registered) FAIL(registered.error().message);
  }
  ClientConfig config(Daemon& daemon) {
    ClientConfig result;
    result.home = home.path() / "home";
    result.host = "127.0.0.1";
    result.port = daemon.port();
    return result;
  }
  TempDir home;
  Listener listener;
  Client client;
};

std::string random_bytes_text(std::size_t size) {
  std::string text(size, '\0');
  crypto::random_bytes(std::as_writable_bytes(std::span{text}));
  return text;
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream{path, std::ios::binary}.write(text.data(), static_cast<std::streamsize>(text.size()));
}
std::string read_file(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

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

TransferWords to_target(const fs::path& source, const std::string& destination) {
  return {{{source.string(), source.filename().string(), false}}, destination, false};
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
