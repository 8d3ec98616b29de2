#include "netem/emulator/command_lines.h"

#include <utility>

namespace penstock::netem {

void CommandLines::append(std::string_view bytes) { pending_.append(bytes); }

std::optional<std::string> CommandLines::next() {
  std::size_t end = pending_.find('\n');
  if (skipping_) {
    if (end == std::string::npos) {
      pending_.clear();
      return std::nullopt;
    }
    pending_.erase(0, end + 1);
    skipping_ = false;
    end = pending_.find('\n');
  }
  if (end == std::string::npos && pending_.size() <= line_size_max) return std::nullopt;
  std::string line = pending_.substr(0, std::min(end, line_size_max));
  if (end == std::string::npos) {
    skipping_ = true;
    pending_.clear();
  } else {
    pending_.erase(0, end + 1);
  }
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

std::optional<std::string> CommandLines::rest() {
  if (pending_.empty() || skipping_) return std::nullopt;
  return std::exchange(pending_, {});
}

}  // namespace penstock::netem
