#include "control/transfer/receipt_list.h"

#include <algorithm>

namespace penstock::control {

std::string landed_path(const storage::FileReport& report, const LandingNames& landing) {
  if (!landing.container) return report.path.empty() ? landing.landed_as : report.path;
  if (report.root >= landing.roots.size() || landing.roots[report.root].contents) return report.path;
  const std::string& name = landing.roots[report.root].name;
  return report.path.empty() ? name : name + "/" + report.path;
}

std::vector<ReceiptLine> receipt_lines(std::span<const storage::FileReport> reports, const LandingNames& landing) {
  std::vector<ReceiptLine> lines;
  lines.reserve(reports.size());
  for (const auto& report : reports) {
    const auto digest = report.digest.bytes();
    lines.push_back({landed_path(report, landing), report.size, {digest.begin(), digest.end()}});
  }
  std::ranges::sort(lines);
  // Not std::ranges::unique: clang 14 can not read libstdc++ 12's subrange.
  const auto repeated = std::unique(lines.begin(), lines.end(),
                                    [](const ReceiptLine& a, const ReceiptLine& b) { return a.path == b.path; });
  lines.erase(repeated, lines.end());
  return lines;
}

std::string last_component(std::string_view path) {
  const auto slash = path.rfind('/');
  return std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)};
}

}  // namespace penstock::control
