#pragma once

#include <span>
#include <string>
#include <vector>

#include "control/receipt/receipt.h"
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

/// The receipt's list, rebuilt by each end from what it read or wrote: paths relative to where the transfer landed
/// (control/receipt/README), ascending, each once.
std::vector<ReceiptLine> receipt_lines(std::span<const storage::FileReport> reports, const LandingNames& landing);

/// One file's path relative to where the transfer landed, as the receipt has it. For a single file that is its own
/// last name: empty while `landing.landed_as` is.
std::string landed_path(const storage::FileReport& report, const LandingNames& landing);

/// The last component of a path; itself when there is no '/'.
std::string last_component(std::string_view path);

}  // namespace penstock::control
