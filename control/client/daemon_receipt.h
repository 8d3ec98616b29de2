#pragma once

#include <vector>

#include "common/result.h"
#include "control/gate/pin.h"
#include "control/proto/transfer.pb.h"
#include "control/receipt/receipt.h"
#include "dataplane/storage/journal.h"

namespace penstock::control {

/// The receipt that a daemon's header makes of our own list. SIGNATURE_INVALID when it is no header, or not signed.
/// Not judged yet: judge_receipt.
[[nodiscard]] Result<Receipt> receipt_of(const proto::ReceiptHeader& header, std::vector<ReceiptLine> lines,
                                         std::vector<std::byte> daemon_spki, std::vector<std::byte> key_certification);

/// What a receipt is for.
struct ReceiptSubject {
  storage::TransferId transfer{};
  ReceiptOperation operation = ReceiptOperation::push;
  Pin daemon;  // whom we are talking to
};

/// SIGNATURE_INVALID, side remote, unless this daemon has signed exactly this list for exactly this transfer.
[[nodiscard]] Status judge_receipt(const Receipt& receipt, const ReceiptSubject& subject);

}  // namespace penstock::control
