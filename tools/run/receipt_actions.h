#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "tools/cli/command.h"
#include "tools/output/output.h"

namespace penstock::tools {

// `penstock receipt ...`: what finished transfers left in the client's home. None of them meets the network.

/// One line, or one `entry`, for each receipt, oldest first; how many.
Result<std::uint64_t> list_receipts(const std::string& home, Output& out);
Status show_receipt(const std::string& home, const ReceiptShowCommand& command, Output& out);
/// SIGNATURE_INVALID unless a daemon that this client is registered with signed it.
Status verify_receipt_file(const std::string& home, const std::string& file, Output& out);
/// Verifies, then compares the files beneath the directory; how many. DIGEST_MISMATCH names the first that differs.
Result<std::uint64_t> check_receipt_file(const std::string& home, const ReceiptCheckCommand& command, Output& out);

}  // namespace penstock::tools
