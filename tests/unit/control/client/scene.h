#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "common/crypto/random.h"
#include "control/client/client.h"
#include "control/gate/identity.h"
#include "control/gate/token.h"
#include "control/registry/sqlite_registry.h"
#include "control/server/server.h"
#include "control/session/wall_clock.h"
#include "tests/keys/made_keys.h"

namespace penstock::control::test {

namespace fs = std::filesystem;

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
    if (fails_at_ == event) {
      fails_at_.clear();
      throw std::runtime_error{"the log can not take this"};
    }
    stopped_ = stopped_ || event == "stopped";
  }
  /// The next such event throws. Threads: any, here and below.
  void fail_once(std::string event) {
    const std::lock_guard lock{mutex_};
    fails_at_ = std::move(event);
  }
  [[nodiscard]] bool has_failed() {
    const std::lock_guard lock{mutex_};
    return fails_at_.empty();
  }
  [[nodiscard]] bool has_stopped() {
    const std::lock_guard lock{mutex_};
    return stopped_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::string fails_at_;
  bool stopped_ = false;
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
  using Adjust = std::function<void(ServerConfig&)>;
  explicit Daemon(
      const std::vector<std::string>& grants = {"rw:/"}, const Adjust& adjust = [](ServerConfig&) {})
      : grants_(grants) {
    fs::create_directory(dir_.path() / "root");
    ServerConfig config;
    config.root = dir_.path() / "root";
    config.state = dir_.path() / "state";
    config.listen = {{"127.0.0.1", 0}};
    if (const auto key = next_made_key()) REQUIRE(give_daemon(config.state, *key).ok());
    adjust(config);
    auto server = Server::create(config, observer_);
    if (!server) FAIL(server.error().message);
    server_ = std::move(*server);
    if (auto bound = server_->bind(); !bound) FAIL(bound.error().message);
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
  [[nodiscard]] QuietServer& observer() { return observer_; }
  /// Asks the daemon to stop; whether it does, with no transfer under way.
  [[nodiscard]] bool stops_by_itself() {
    server_->request_stop();
    for (int tries = 0; tries < 500 && !observer_.has_stopped(); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    return observer_.has_stopped();
  }

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

/// A registered client with a home of its own. A daemon is whatever has a port and gives out tokens.
struct Person {
  template <class AnyDaemon>
  explicit Person(AnyDaemon& daemon) : client(config(daemon), listener) {
    const std::string token = daemon.token();
    if (const auto key = next_made_key())
      REQUIRE(give_client(home.path() / "home", decode_token(token).value(), *key).ok());
    const auto registered = client.register_client(token);
    if (!registered) FAIL(registered.error().message);
  }
  template <class AnyDaemon>
  ClientConfig config(AnyDaemon& daemon) {
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

inline std::string random_bytes_text(std::size_t size) {
  std::string text(size, '\0');
  crypto::random_bytes(std::as_writable_bytes(std::span{text}));
  return text;
}

inline void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream{path, std::ios::binary}.write(text.data(), static_cast<std::streamsize>(text.size()));
}
inline std::string read_file(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

inline TransferWords to_target(const fs::path& source, const std::string& destination) {
  return {{{source.string(), source.filename().string(), false}}, destination, false};
}

}  // namespace penstock::control::test
