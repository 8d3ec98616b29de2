#pragma once

#include <string_view>

namespace penstock::tools {

#ifndef PENSTOCK_VERSION
#error "the build gives PENSTOCK_VERSION: project(VERSION) of the top CMakeLists.txt"
#endif
inline constexpr std::string_view penstock_version = PENSTOCK_VERSION;

}  // namespace penstock::tools
