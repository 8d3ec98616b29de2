#include "tools/run/serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <utility>

#include "common/escape.h"
#include "common/unique_fd.h"
#include "tools/run/serving_pin.h"
#include "tools/run/signals.h"

namespace penstock::tools {
namespace {

inline constexpr int exit_cannot_bind = 3;

void write_message(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(2, text.data(), text.size());
    if (wrote <= 0) return;  // nobody is left to tell
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

class LoggingObserver final : public control::ServerObserver {
 public:
  explicit LoggingObserver(LogFormat format) : format_(format) {}

  // Plain text whatever the log format: scripts wait for it (CLI.md section 1).
  void on_listening(const std::string& address, const std::string& fingerprint) override {
    write_message(fmt::format("listening on {} fingerprint {}\n", address, fingerprint));
  }
  void on_log(control::LogLevel level, std::string_view event, std::string_view message,
              control::LogFields fields) override {
    write_message(log_line(format_, rfc3339(std::chrono::system_clock::now()), level, event, message, fields));
  }

 private:
  const LogFormat format_;
};

/// The server that runs, if any, as the signal thread sees it.
class RunningServer {
 public:
  void set(control::Server* server) {
    const std::lock_guard lock{mutex_};
    server_ = server;
    for (unsigned i = 0; server_ && i < stops_; ++i) server_->request_stop();
  }
  void stop() {
    const std::lock_guard lock{mutex_};
    ++stops_;
    if (server_) server_->request_stop();
  }
  [[nodiscard]] bool stopped() const {
    const std::lock_guard lock{mutex_};
    return stops_ > 0;
  }

 private:
  mutable std::mutex mutex_;
  control::Server* server_ = nullptr;
  unsigned stops_ = 0;
};

/// Sessions and transfers hold descriptors: the usual 1024 are for programs that select(2), which this one does not.
/// As many as the system allows; what it does not, the accepting end waits for.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Two daemons on one state directory would each finish, expire and sweep the other's unfinished transfers. The lock
/// goes with the process, however it ends.
Result<UniqueFd> lock_state(const std::string& state) {
  const auto unusable = [&state](std::string_view doing, const std::string& path) {
    return Error{ErrorCode::CONFIG_INVALID,
                 error_from_errno(errno, doing, path).message + "; name another directory with --state", state};
  };
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path{state}.parent_path(), failed);
  if (::mkdir(state.c_str(), 0700) != 0 && errno != EEXIST) return unusable("make the state directory", state);
  const std::string file = state + "/serve.lock";
  UniqueFd fd{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return unusable("use the state directory: cannot open", file);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return unusable("lock", file);
  return Error{ErrorCode::CONFIG_INVALID,
               "another penstockd serves from the state directory " + escape_for_display(state) +
                   "; stop it, or give this one a --state of its own",
               state};
}

}  // namespace

std::string log_line(LogFormat format, std::string_view time, control::LogLevel level, std::string_view event,
                     std::string_view message, control::LogFields fields) {
  if (format == LogFormat::json) {
    JsonLine line{event, time};
    line.text("level", control::to_string(level)).text("message", message);
    for (const auto& [key, value] : fields) line.text(key, value);
    return line.take();
  }
  std::string out = fmt::format("{} {} {}: {}", time, control::to_string(level), event, message);
  for (const auto& [key, value] : fields) out += fmt::format(" {}={}", key, value);
  return out + "\n";
}

int run_serve(const ServeCommand& command, Output& out) {
  const auto lock = lock_state(command.server.state.native());
  if (!lock) return out.error(lock.error());
  raise_descriptor_limit();
  RunningServer running;
  const SignalWatch signals{{
      .on_stop =
          [&running](int signal, unsigned count) {
            if (count > 2) ::_exit(128 + signal);
            running.stop();
          },
      .on_grace_over = {},
      .grace = {},
      .on_usr1 = {},
  }};
  LoggingObserver observer{command.log_format};
  auto created = control::Server::create(command.server, observer);
  if (!created) return out.error(created.error());
  control::Server& server = **created;
  if (const auto bound = server.bind(); !bound) {
    if (bound.error().code == ErrorCode::CONFIG_INVALID) return out.error(bound.error());
    // CLI.md has an exit status for this and no code, and that of the system call would say another one.
    out.note("penstockd: " + bound.error().message + "; --listen names another address");
    return exit_cannot_bind;
  }
  if (const auto noted = note_serving_pin(command.server.state.native(), server.fingerprint()); !noted)
    return out.error(noted.error());
  running.set(&server);
  const Status served = server.run();
  running.set(nullptr);
  if (!served) return out.error(served.error());
  return 0;
}

}  // namespace penstock::tools
