#pragma once

#include <termios.h>

#include <mutex>
#include <optional>

namespace penstock::tools {

/// A terminal that does not show what is typed, from hide() to show() or the end. Threads: any, so that whoever ends
/// the process can show first.
class HiddenTyping {
 public:
  HiddenTyping() = default;
  ~HiddenTyping() { show(); }
  HiddenTyping(const HiddenTyping&) = delete;
  HiddenTyping& operator=(const HiddenTyping&) = delete;

  /// Only the end of the line is shown. Does nothing where `fd` is no terminal, which is borrowed until show().
  void hide(int fd);
  void show();

 private:
  struct Before {
    int fd;
    termios mode;
  };
  std::mutex mutex_;
  std::optional<Before> before_;
};

}  // namespace penstock::tools
