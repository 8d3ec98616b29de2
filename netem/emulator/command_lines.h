#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::netem {

/// Cuts a stream of bytes into lines. Bound: `line_size_max`; what is longer comes out as one line that is cut there,
/// so that it is answered and refused. Pure.
class CommandLines {
 public:
  static constexpr std::size_t line_size_max = 4096;

  void append(std::string_view bytes);
  /// The next whole line, without its end (\n or \r\n).
  std::optional<std::string> next();
  /// What is left when the stream has ended without a newline.
  std::optional<std::string> rest();

 private:
  std::string pending_;
  bool skipping_ = false;  // inside the tail of a line that was too long
};

}  // namespace penstock::netem
