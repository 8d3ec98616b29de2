#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"
#include "common/result.h"
#include "control/client/observer.h"
#include "tools/cli/command.h"
#include "tools/output/json_line.h"

namespace penstock::tools {

/// How a program speaks, decided once.
struct OutputStyle {
  std::string program = "penstock";
  bool json = false;
  Verbosity verbosity = Verbosity::normal;
  bool progress_on_terminal = false;  // stderr is one, and no JSON goes to it
  bool escape_answers = false;        // stdout is a terminal: names are made safe for it
  bool colour = false;
  int answers_fd = 1;
  int messages_fd = 2;
};
/// From the terminal, $TERM and NO_COLOR (https://no-color.org: any value but the empty one).
OutputStyle process_style(std::string program, bool json, Verbosity verbosity);

/// Everything that a program says: answers on standard output, messages on standard error, JSON v1 lines. Keeps the
/// promise of CLI.md section 4: first `start`, exactly one `done` or `error`, always last, whatever happens.
/// A write that fails stops nothing; conclude() tells of it at the end.
/// Threads: all members may be called from any thread; what comes after the last line is dropped.
class Output {
 public:
  explicit Output(OutputStyle style) : style_(std::move(style)) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  [[nodiscard]] bool json() const { return style_.json; }
  [[nodiscard]] bool verbose() const { return style_.verbosity == Verbosity::verbose; }
  [[nodiscard]] bool escape_answers() const { return style_.escape_answers; }
  [[nodiscard]] bool answers_lost() const;
  /// After the last line: the exit status to end with. `status`; but that of NO_SPACE or IO_ERROR, with a line on
  /// standard error, where all went well and the answers could not be written. A reader that went away (EPIPE) had
  /// enough, and is no failure.
  [[nodiscard]] int conclude(int status);

  /// `start`: op is the command ("push", "receipt show"; empty when there was none), peer HOST:PORT or empty.
  void start(std::string_view op, std::string_view peer);
  /// Every JSON line from here on carries it.
  void set_transfer(std::string transfer);

  /// A line of JSON; dropped unless json(). Fields are appended by `fill(JsonLine&)`.
  template <class Fill>
  void event(std::string_view name, Fill fill) {
    if (!style_.json) return;
    JsonLine line = begin_line(name);
    fill(line);
    write_line(line.take());
  }
  /// Text on standard output, as it is; dropped when json(): an event says it there.
  void answer(std::string_view text);
  /// A line on standard error, unless quiet.
  void note(std::string_view text);
  /// A line on standard error with -v alone.
  void detail(std::string_view text);
  /// A line on standard error whatever the verbosity.
  void announce(std::string_view text);
  void warning(const Error& error);
  /// The line on the terminal, redrawn in place; with `always` (USR1) also where there is none, as a line of its own.
  void progress(const control::Progress& progress, bool always);

  /// `done`, the last line. False when the last line was written already.
  template <class Fill>
  bool done(Fill fill) {
    JsonLine line = begin_line("done");
    fill(line);
    return finish(line.take(), "");
  }
  /// `error`, the last line, with the sentence on standard error. Returns the exit status; `exit` replaces the error's
  /// own where a signal decides it, `fill` adds fields.
  int error(const Error& error, std::optional<int> exit = std::nullopt,
            const std::function<void(JsonLine&)>& fill = {});

 private:
  [[nodiscard]] JsonLine begin_line(std::string_view name) const;
  void write_line(const std::string& line);
  bool finish(const std::string& json_line, const std::string& message);
  void answer_locked(std::string_view text);
  void message_locked(std::string_view text);
  void clear_progress_locked();

  const OutputStyle style_;
  mutable std::mutex mutex_;
  std::string transfer_;
  bool started_ = false;
  bool finished_ = false;
  bool progress_shown_ = false;
  int answers_error_ = 0;  // errno of the first answer that was lost
};

/// `penstock: FILE_EXISTS (1607): message`, in one escaped line; `(from the daemon)` after the number when the other
/// end said it.
std::string error_line(std::string_view program, const Error& error);

}  // namespace penstock::tools
