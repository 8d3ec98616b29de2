#include "tools/output/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "common/escape.h"
#include "tools/output/progress_line.h"
#include "tools/version.h"

namespace penstock::tools {
namespace {

inline constexpr std::size_t columns_default = 80;

/// Writes all of it; the errno of what failed, else 0.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return 0;
}

std::size_t columns_of(int fd) {
  winsize size{};
  // One less: a line that fills the last column wraps on some terminals.
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - std::size_t{1};
  return columns_default - 1;
}

bool variable_set(const char* name) {
  const char* value = std::getenv(name);
  return value && *value != '\0';
}

}  // namespace

OutputStyle process_style(std::string program, bool json, Verbosity verbosity) {
  OutputStyle style;
  style.program = std::move(program);
  style.json = json;
  style.verbosity = verbosity;
  const bool messages_terminal = ::isatty(2) == 1;
  const bool answers_terminal = ::isatty(1) == 1;
  const char* term = std::getenv("TERM");
  const bool dumb = !term || std::string_view{term} == "dumb";
  style.progress_on_terminal =
      messages_terminal && !dumb && verbosity != Verbosity::quiet && !(json && answers_terminal);
  style.escape_answers = answers_terminal;
  style.colour = messages_terminal && !dumb && !variable_set("NO_COLOR");
  return style;
}

std::string error_line(std::string_view program, const Error& error) {
  const ErrorTraits& traits = error_traits(error.code);
  return fmt::format("{}: {} ({}){}: {}\n", program, traits.name, static_cast<unsigned>(error.code),
                     error.side == ErrorSide::remote ? " from the daemon" : "",
                     escape_sentence(error.message.empty() ? traits.meaning : std::string_view{error.message}));
}

bool Output::answers_lost() const {
  const std::lock_guard lock{mutex_};
  return answers_error_ != 0;
}

int Output::conclude(int status) {
  int lost = 0;
  {
    const std::lock_guard lock{mutex_};
    lost = answers_error_;
  }
  // Who closed the pipe has read enough.
  if (status != 0 || lost == 0 || lost == EPIPE) return status;
  const Error error = error_from_errno(lost, "write to standard output", {});
  write_all(style_.messages_fd, error_line(style_.program, error));
  return error_traits(error.code).exit;
}

void Output::answer_locked(std::string_view text) {
  if (const int failed = write_all(style_.answers_fd, text); failed != 0 && answers_error_ == 0)
    answers_error_ = failed;
}

JsonLine Output::begin_line(std::string_view name) const {
  JsonLine line{name, std::chrono::system_clock::now()};
  const std::lock_guard lock{mutex_};
  if (!transfer_.empty()) line.text("transfer", transfer_);
  return line;
}

void Output::start(std::string_view op, std::string_view peer) {
  {
    const std::lock_guard lock{mutex_};
    if (std::exchange(started_, true)) return;
  }
  event("start", [&](JsonLine& line) {
    line.number("v", 1).text_or_null("op", op).text_or_null("peer", peer).text("version", penstock_version);
  });
}

void Output::set_transfer(std::string transfer) {
  const std::lock_guard lock{mutex_};
  transfer_ = std::move(transfer);
}

void Output::write_line(const std::string& line) {
  const std::lock_guard lock{mutex_};
  if (finished_) return;
  answer_locked(line);
}

void Output::answer(std::string_view text) {
  if (style_.json) return;
  const std::lock_guard lock{mutex_};
  if (finished_) return;
  clear_progress_locked();
  answer_locked(text);
}

void Output::clear_progress_locked() {
  if (std::exchange(progress_shown_, false)) write_all(style_.messages_fd, "\r\033[K");
}

void Output::message_locked(std::string_view text) {
  clear_progress_locked();
  write_all(style_.messages_fd, text);
}

void Output::announce(std::string_view text) {
  const std::lock_guard lock{mutex_};
  if (!finished_) message_locked(escape_sentence(text) + "\n");
}

void Output::note(std::string_view text) {
  if (style_.verbosity != Verbosity::quiet) announce(text);
}

void Output::detail(std::string_view text) {
  if (style_.verbosity == Verbosity::verbose) announce(text);
}

void Output::warning(const Error& error) {
  event("warning", [&](JsonLine& line) {
    line.number("code", static_cast<std::uint64_t>(error.code))
        .text("name", error_traits(error.code).name)
        .text("message", error.message);
    if (!error.path.empty()) line.path("path", error.path);
  });
  note(fmt::format("{}: warning: {}", style_.program, error.message));
}

void Output::progress(const control::Progress& progress, bool always) {
  event("progress", [&](JsonLine& line) {
    line.number("bytes", progress.bytes)
        .number_or_null("bytes_total", progress.bytes_total)
        .number("files", progress.files)
        .number_or_null("files_total", progress.files_total)
        .number("rate_bps", progress.rate_bps)
        .number_or_null("eta_s", progress.eta_s)
        .decimal("rtt_ms", progress.rtt_ms)
        .decimal("loss", progress.loss, 6)
        .text_or_null("limited_by", progress.limited_by)
        .text("data", progress.data);
  });
  const std::lock_guard lock{mutex_};
  if (finished_) return;
  if (style_.progress_on_terminal) {
    const std::string line = progress_line(progress, {columns_of(style_.messages_fd), style_.colour});
    write_all(style_.messages_fd, fmt::format("\r{}\033[K", line));
    progress_shown_ = true;
  }
  if (always && !style_.progress_on_terminal)
    message_locked(progress_line(progress, {.columns = 200, .colour = false}) + "\n");
}

bool Output::finish(const std::string& json_line, const std::string& message) {
  start("", "");  // the promise holds even when nothing got so far
  const std::lock_guard lock{mutex_};
  if (std::exchange(finished_, true)) return false;
  clear_progress_locked();
  if (!message.empty()) write_all(style_.messages_fd, message);
  if (style_.json) answer_locked(json_line);
  return true;
}

int Output::error(const Error& error, std::optional<int> exit, const std::function<void(JsonLine&)>& fill) {
  const ErrorTraits& traits = error_traits(error.code);
  const int status = exit.value_or(traits.exit);
  start("", "");
  JsonLine line = begin_line("error");
  line.number("code", static_cast<std::uint64_t>(error.code))
      .text("name", traits.name)
      .text("message", error.message.empty() ? traits.meaning : std::string_view{error.message})
      .signed_number("exit", status)
      .flag("retryable", traits.retryable)
      .text("side", error.side == ErrorSide::remote ? "remote" : "local");
  if (error.path.empty()) {
    line.null("path");
  } else {
    line.path("path", error.path);
  }
  if (fill) fill(line);
  finish(line.take(), error_line(style_.program, error));
  return status;
}

}  // namespace penstock::tools
