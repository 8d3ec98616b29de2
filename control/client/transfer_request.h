#pragma once

#include <optional>
#include <string>

#include "common/digest/digest.h"
#include "control/client/client.h"
#include "control/gate/pin.h"
#include "control/proto/transfer.pb.h"
#include "control/receipt/receipt.h"
#include "control/transfer/landing_names.h"
#include "dataplane/storage/journal.h"

namespace penstock::control {

/// A push or pull as its user worded it. Borrowed; whoever holds one keeps the words alive.
struct TransferRequest {
  ReceiptOperation operation = ReceiptOperation::push;
  const TransferWords& words;
  const TransferOptions& options;

  [[nodiscard]] bool push() const { return operation == ReceiptOperation::push; }
};

/// The same for the same command at the same daemon, wherever it is run from: local paths count as absolute.
[[nodiscard]] storage::ResumeKey resume_key_of(const TransferRequest& request, const Pin& daemon);

/// The message that begins or continues it, but for what only the path knows (udp_payload_max). `attach`: the transfer
/// that an earlier session, or an earlier process, has begun by these words. `resume`: false forgets what is left of
/// it.
[[nodiscard]] proto::OpenTransfer open_message_of(const TransferRequest& request, const Pin& daemon,
                                                  const std::optional<storage::TransferId>& attach, bool resume);

/// Where the roots land, for the receipt; `landed_as` is not known yet.
[[nodiscard]] LandingNames landing_of(const TransferWords& words);

/// A SRC word with the `/.` that was taken off it.
[[nodiscard]] std::string path_of(const SourceWord& source);

/// Absolute and normal, no trailing slash; with `contents` it ends in `/.`. By words alone: links are not resolved.
[[nodiscard]] std::string absolute_local(const std::string& path, bool contents);

[[nodiscard]] digest::Algorithm algorithm_of(DigestKind kind);

}  // namespace penstock::control
