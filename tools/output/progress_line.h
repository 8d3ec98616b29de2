#pragma once

#include <cstddef>
#include <string>

#include "control/client/observer.h"

namespace penstock::tools {

struct ProgressStyle {
  std::size_t columns = 80;
  bool colour = false;
};

/// One line, without newline, not wider than `columns`: percentage, rate, time left, loss, what limits. The least
/// important parts go first when the terminal is narrow; the percentage (or the bytes, while the total is unknown)
/// always stays, cut if it must be. Pure; holds ASCII alone besides colour escapes.
std::string progress_line(const control::Progress& progress, const ProgressStyle& style);

}  // namespace penstock::tools
