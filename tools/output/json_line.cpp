#include "tools/output/json_line.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <span>

#include "common/bytes/base64.h"
#include "common/utf8.h"

namespace penstock::tools {

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), ms);
}

JsonLine::JsonLine(std::string_view event, std::chrono::system_clock::time_point time)
    : JsonLine(event, rfc3339(time)) {}
JsonLine::JsonLine(std::string_view event, std::string_view time) {
  text("event", event);
  text("time", time);
}

void JsonLine::begin(std::string_view key) {
  out_ += out_.empty() ? '{' : ',';
  append_quoted(key);
  out_ += ':';
}

void JsonLine::append_quoted(std::string_view value) {
  const std::string text = is_valid_utf8(value) ? std::string{value} : utf8_with_replacements(value);
  out_ += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out_ += fmt::format("\\u{:04x}", byte);
    } else {
      out_ += c;
    }
  }
  out_ += '"';
}

JsonLine& JsonLine::text(std::string_view key, std::string_view value) {
  begin(key);
  append_quoted(value);
  return *this;
}
JsonLine& JsonLine::number(std::string_view key, std::uint64_t value) {
  begin(key);
  out_ += fmt::format("{}", value);
  return *this;
}
JsonLine& JsonLine::signed_number(std::string_view key, std::int64_t value) {
  begin(key);
  out_ += fmt::format("{}", value);
  return *this;
}
JsonLine& JsonLine::decimal(std::string_view key, double value, int decimals) {
  begin(key);
  out_ += std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "null";
  return *this;
}
JsonLine& JsonLine::flag(std::string_view key, bool value) {
  begin(key);
  out_ += value ? "true" : "false";
  return *this;
}
JsonLine& JsonLine::null(std::string_view key) {
  begin(key);
  out_ += "null";
  return *this;
}
JsonLine& JsonLine::number_or_null(std::string_view key, std::optional<std::uint64_t> value) {
  return value ? number(key, *value) : null(key);
}
JsonLine& JsonLine::text_or_null(std::string_view key, std::string_view value) {
  return value.empty() ? null(key) : text(key, value);
}

JsonLine& JsonLine::path(std::string_view key, std::string_view bytes) {
  text(key, bytes);
  if (!is_valid_utf8(bytes)) text(std::string{key} + "_b64", bytes::to_base64(std::as_bytes(std::span{bytes})));
  return *this;
}

std::string JsonLine::take() {
  out_ += "}\n";
  return std::move(out_);
}

}  // namespace penstock::tools
