#include "tools/output/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tools/output/quantities.h"

namespace penstock::tools {
namespace {

/// A part of the line; the part with the highest `cost` is dropped first.
struct Part {
  std::string text;
  int cost;
};

std::string ascii(std::string_view text) {
  std::string out{text.substr(0, 32)};
  std::ranges::replace_if(
      out, [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

std::string joined(const std::vector<Part>& parts) {
  std::string out;
  for (const auto& part : parts) out.append(out.empty() ? "" : "  ").append(part.text);
  return out;
}

}  // namespace

std::string progress_line(const control::Progress& progress, const ProgressStyle& style) {
  std::vector<Part> parts;
  if (progress.bytes_total) {
    const std::uint64_t total = *progress.bytes_total;
    // Rounded down, and 100 only when nothing is missing: "100 %" must not stand there for the last minutes.
    const double share =
        total == 0 ? 1.0 : static_cast<double>(std::min(progress.bytes, total)) / static_cast<double>(total);
    const int percent = progress.bytes >= total ? 100 : std::min(99, static_cast<int>(share * 100));
    parts.push_back({fmt::format("{:3} %", percent), 0});
    parts.push_back({fmt::format("{} of {}", show_bytes(progress.bytes), show_bytes(total)), 5});
  } else {
    parts.push_back({show_bytes(progress.bytes), 0});
  }
  parts.push_back({show_rate(progress.rate_bps), 1});
  if (progress.eta_s) parts.push_back({fmt::format("ETA {}", show_seconds(*progress.eta_s)), 2});
  parts.push_back({fmt::format("loss {}", show_share(progress.loss)), 3});
  if (!progress.limited_by.empty()) parts.push_back({fmt::format("limited by {}", ascii(progress.limited_by)), 4});
  if (progress.files_total.value_or(0) > 1 || (!progress.files_total && progress.files > 0))
    parts.push_back({progress.files_total ? fmt::format("{}/{} files", progress.files, *progress.files_total)
                                          : fmt::format("{} files", progress.files),
                     6});

  std::string line = joined(parts);
  while (line.size() > style.columns && parts.size() > 1) {
    parts.erase(std::ranges::max_element(parts, {}, &Part::cost));
    line = joined(parts);
  }
  if (line.size() > style.columns) line.resize(style.columns);
  if (style.colour) {
    const std::size_t first = std::min(parts.front().text.size(), line.size());
    line = fmt::format("\033[1m{}\033[0m{}", line.substr(0, first), line.substr(first));
  }
  return line;
}

}  // namespace penstock::tools
