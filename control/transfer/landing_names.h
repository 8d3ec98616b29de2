#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/storage/verdict.h"

namespace penstock::control {

/// Where a transfer's roots land, in the words that both ends know.
struct LandingNames {
  struct Root {
    std::string name;
    bool contents = false;
  };
  bool container = false;
  std::vector<Root> roots;
  std::string landed_as;  // last name of the file, where the only root is one
};

/// One file's path relative to where the transfer landed, as the receipt has it. For a single file that is its own
/// last name: empty while `landing.landed_as` is.
std::string landed_path(const storage::FileReport& report, const LandingNames& landing);

/// The last component of a path; itself when there is no '/'.
std::string last_component(std::string_view path);

}  // namespace penstock::control
