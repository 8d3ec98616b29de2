#include "control/transfer/landing_names.h"

namespace penstock::control {

std::string landed_path(const storage::FileReport& report, const LandingNames& landing) {
  if (!landing.container) return report.path.empty() ? landing.landed_as : report.path;
  if (report.root >= landing.roots.size() || landing.roots[report.root].contents) return report.path;
  const std::string& name = landing.roots[report.root].name;
  return report.path.empty() ? name : name + "/" + report.path;
}

std::string last_component(std::string_view path) {
  const auto slash = path.rfind('/');
  return std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)};
}

}  // namespace penstock::control
