#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::tools {

/// Builds one line of JSON v1 (CLI.md section 4): fields in the order added, every byte printable ASCII or UTF-8, no
/// newline inside. Text that is not UTF-8 gets U+FFFD. Pure.
class JsonLine {
 public:
  /// Opens with `event` and `time`.
  JsonLine(std::string_view event, std::chrono::system_clock::time_point time);
  JsonLine(std::string_view event, std::string_view time);  // already RFC 3339

  JsonLine& text(std::string_view key, std::string_view value);
  JsonLine& number(std::string_view key, std::uint64_t value);
  JsonLine& signed_number(std::string_view key, std::int64_t value);
  /// Three digits after the point, as many as `decimals` says; what is not finite becomes null.
  JsonLine& decimal(std::string_view key, double value, int decimals = 3);
  JsonLine& flag(std::string_view key, bool value);
  JsonLine& null(std::string_view key);
  JsonLine& number_or_null(std::string_view key, std::optional<std::uint64_t> value);
  JsonLine& text_or_null(std::string_view key, std::string_view value);  // empty is null
  template <class Texts>
  JsonLine& texts(std::string_view key, const Texts& values) {
    begin(key);
    out_ += '[';
    bool first = true;
    for (const auto& value : values) {
      if (!first) out_ += ',';
      first = false;
      append_quoted(value);
    }
    out_ += ']';
    return *this;
  }
  /// Raw bytes: `path`, and `path_b64` beside it when they are not UTF-8. Other keys likewise.
  JsonLine& path(std::string_view key, std::string_view bytes);

  /// The finished line, with its newline. The builder is spent.
  [[nodiscard]] std::string take();

 private:
  void begin(std::string_view key);
  void append_quoted(std::string_view value);
  std::string out_;
};

/// `2026-07-01T09:30:00.123Z`: RFC 3339 section 5.6, in UTC, with milliseconds.
std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace penstock::tools
