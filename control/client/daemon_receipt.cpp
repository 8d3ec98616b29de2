#include "control/client/daemon_receipt.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"

namespace penstock::control {

Result<Receipt> receipt_of(const proto::ReceiptHeader& header, std::vector<ReceiptLine> lines,
                           std::vector<std::byte> daemon_spki, std::vector<std::byte> key_certification) {
  auto fields = decode_receipt_header(header.text());
  if (!fields) return fields.error();
  Receipt receipt;
  receipt.header = std::move(*fields);
  receipt.lines = std::move(lines);
  if (header.signature().size() != receipt.signature.size())
    return Error{ErrorCode::SIGNATURE_INVALID, "the daemon's receipt is not signed", {}, ErrorSide::remote};
  std::ranges::copy(bytes::as_bytes(header.signature()), receipt.signature.begin());
  receipt.daemon_spki = std::move(daemon_spki);
  receipt.key_certification = std::move(key_certification);
  return receipt;
}

Status judge_receipt(const Receipt& receipt, const ReceiptSubject& subject) {
  if (receipt.header.transfer != bytes::to_hex(subject.transfer) || receipt.header.operation != subject.operation)
    return Error{ErrorCode::SIGNATURE_INVALID, "the daemon's receipt is for another transfer", {}, ErrorSide::remote};
  if (auto verified = verify_receipt(receipt, std::span{&subject.daemon, 1}); !verified) {
    Error error = verified.error();
    error.side = ErrorSide::remote;
    return error;
  }
  return {};
}

}  // namespace penstock::control
