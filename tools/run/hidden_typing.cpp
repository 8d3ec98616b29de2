#include "tools/run/hidden_typing.h"

namespace penstock::tools {

void HiddenTyping::hide(int fd) {
  const std::lock_guard lock{mutex_};
  if (before_) return;
  termios mode{};
  if (::tcgetattr(fd, &mode) != 0) return;
  before_ = Before{fd, mode};
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  mode.c_lflag |= ECHONL;
  // What was typed ahead is kept: a token may have been pasted together with the command.
  (void)::tcsetattr(fd, TCSADRAIN, &mode);
}

void HiddenTyping::show() {
  const std::lock_guard lock{mutex_};
  if (!before_) return;
  (void)::tcsetattr(before_->fd, TCSADRAIN, &before_->mode);
  before_.reset();
}

}  // namespace penstock::tools
