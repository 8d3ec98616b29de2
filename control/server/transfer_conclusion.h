#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "control/gate/identity.h"
#include "control/proto/gate.pb.h"
#include "control/receipt/receipt.h"
#include "control/receipt/receipt_list.h"
#include "control/registry/records.h"
#include "control/session/transfer_run.h"
#include "dataplane/storage/journal.h"

namespace penstock::control {

/// What the daemon knows of a transfer beside its outcome.
struct TransferFacts {
  const proto::OpenTransfer& open;
  storage::TransferId id{};
  std::string user;  // raw bytes
  Uuid client;
  std::int64_t started = 0;  // seconds since 1970
  std::int64_t finished = 0;
  std::string limited_by;
};

/// What is said at the end of a transfer whose files are all durable under their names.
struct Conclusion {
  proto::Commit commit;  // push: for the client; pull: as the client said it
  Receipt receipt;       // signed, without its lines; of a dry run: nothing in it is meant
  std::string header;    // the text that was signed
};

/// The last name of a transfer of one file.
[[nodiscard]] std::string landed_as(const proto::OpenTransfer& open, const RunOutcome& outcome);

/// Makes and signs it. `list`: what the outcome's spool says, under that name; empty of a dry run. DIGEST_MISMATCH: on
/// pull the client's list is another than ours. Costs one Ed25519 signature.
Result<Conclusion> conclude_transfer(const Identity& identity, const ReceiptKey& key, const TransferFacts& facts,
                                     const RunOutcome& outcome, const ReceiptList& list);

}  // namespace penstock::control
