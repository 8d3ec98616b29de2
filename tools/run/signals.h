#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "common/time.h"
#include "common/unique_fd.h"

namespace penstock::tools {

/// Turns INT, TERM, HUP and USR1 into calls on a thread of its own, where (unlike in a signal handler) anything may be
/// done. A HUP that was ignored at the start stays so (nohup). PIPE is ignored from here on.
/// Construct it before any other thread starts: it blocks the signals in the calling thread, and threads inherit that.
class SignalWatch {
 public:
  struct Handlers {
    /// `count` is 1 at the first INT, TERM or HUP.
    std::function<void(int signal, unsigned count)> on_stop;
    /// Called once, with the first signal, when the process is still there `grace` after it. Optional.
    std::function<void(int signal)> on_grace_over;
    Duration grace{};
    /// USR1. Optional.
    std::function<void()> on_usr1;
  };

  explicit SignalWatch(Handlers handlers);
  /// Ends the thread; no handler runs afterwards. The signals stay blocked.
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  void watch();

  Handlers handlers_;
  UniqueFd signals_;
  UniqueFd ended_;
  std::thread thread_;
};

}  // namespace penstock::tools
