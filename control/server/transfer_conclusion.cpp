#include "control/server/transfer_conclusion.h"

#include <algorithm>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/session/wall_clock.h"

namespace penstock::control {

std::string landed_as(const proto::OpenTransfer& open, const RunOutcome& outcome) {
  if (open.direction() == proto::PULL) return outcome.commit.landed_as();
  return outcome.receipts ? outcome.receipts->landed_as() : std::string{};
}

Result<Conclusion> conclude_transfer(const Identity& identity, const ReceiptKey& key, const TransferFacts& facts,
                                     const RunOutcome& outcome, const ReceiptList& list) {
  const auto& open = facts.open;
  const bool push = open.direction() == proto::PUSH;
  Conclusion end;
  auto& receipt = end.receipt;
  auto& header = receipt.header;
  header.transfer = bytes::to_hex(facts.id);
  header.operation = push ? ReceiptOperation::push : ReceiptOperation::pull;
  header.daemon = identity.pin();
  header.receipt_key = key.public_key();
  header.user = facts.user;
  header.uuid = to_string(facts.client);
  for (const auto& root : open.roots())
    header.sources.push_back(push ? (root.contents() ? "." : root.name())
                                  : root.path() + (root.contents() ? "/." : ""));
  header.destination = open.destination();
  header.started = rfc3339_utc(facts.started);
  header.finished = rfc3339_utc(facts.finished);
  header.files = list.files();
  header.bytes = list.bytes();
  header.digest = open.digest() == proto::SHA256 ? ReceiptDigest::sha256 : ReceiptDigest::xxh3;
  header.list_sha256 = list.sha256();
  header.limited_by = facts.limited_by;
  const std::string list_digest{bytes::as_text(header.list_sha256)};

  end.commit = outcome.commit;
  if (push) {
    end.commit.set_files(outcome.sink.files);
    end.commit.set_bytes(outcome.sink.bytes);
    end.commit.set_bytes_received(outcome.sink.bytes_received);
    end.commit.set_bytes_resumed(outcome.sink.bytes_resumed);
    end.commit.set_bytes_skipped(outcome.sink.bytes_skipped);
    end.commit.set_files_skipped(outcome.sink.files_skipped);
    end.commit.set_files_failed(std::max(outcome.sink.files_failed, outcome.entries_failed));
    end.commit.set_list_digest(list_digest);
    end.commit.set_landed_as(landed_as(open, outcome));
  } else if (!open.dry_run() && end.commit.list_digest() != list_digest) {
    return Error{ErrorCode::DIGEST_MISMATCH,
                 "the two ends disagree about what was transferred, so there is no receipt; run the command again"};
  }
  if (open.dry_run()) return end;
  end.header = encode_receipt_header(header);
  receipt.signature = key.key().sign(bytes::as_bytes(end.header));
  receipt.daemon_spki.assign(identity.spki().begin(), identity.spki().end());
  receipt.key_certification = key.certification();
  return end;
}

}  // namespace penstock::control
