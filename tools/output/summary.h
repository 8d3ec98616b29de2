#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "control/client/client.h"

namespace penstock::tools {

/// The line at the end of a transfer, for people: `pushed 3 files, 1.2 GB in 9.8 s: 122 MB/s (980 Mbit/s); ...`.
/// `seconds` is of the whole command. Pure.
std::string transfer_summary_text(std::string_view verb, const control::TransferSummary& summary, double seconds);

/// What a dry run found out.
struct DryRunCounts {
  std::uint64_t wanted = 0;  // files that would be sent
  std::uint64_t wanted_bytes = 0;
  std::uint64_t skipped = 0;
  std::uint64_t refused = 0;
};
/// `would have pushed 3 files, 1.2 GB; 1 file skipped; 2 refused`. Pure.
std::string dry_run_summary_text(std::string_view verb, const DryRunCounts& counts);

/// As sha256sum prints it: digest, two spaces, name; a name with backslash, newline or carriage return is written with
/// escapes, and the line then begins with a backslash (GNU coreutils, "md5sum invocation"). `escape`: for a terminal.
std::string sum_line(std::string_view digest_hex, std::string_view name, bool escape);

}  // namespace penstock::tools
