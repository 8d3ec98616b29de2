#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/digest/digest.h"
#include "common/error.h"
#include "common/wire_error.h"
#include "control/proto/gate.pb.h"
#include "dataplane/engine/fec/repair_policy.h"
#include "dataplane/engine/ranges/extent_table.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/verdict.h"

namespace penstock::control {

// The transfer's messages as storage's words. Encoding never fails; decoding refuses what the words can not hold, and
// leaves judging manifests to storage's validator. Every bound follows from the message's size.

proto::FileType encode_type(storage::FileType type);

void encode_entry(const storage::ManifestEntry& entry, proto::Entry& out);
Decoded<storage::ManifestEntry> decode_entry(const proto::Entry& in);

void encode_verdict(const storage::Verdict& verdict, proto::Verdict& out);
Decoded<storage::Verdict> decode_verdict(const proto::Verdict& in);

void encode_digests(const storage::DigestRun& run, proto::BlockDigests& out);
Decoded<storage::DigestRun> decode_digests(const proto::BlockDigests& in);

void encode_repair(std::span<const storage::EntryBlocks> blocks, proto::RepairList& out);
Decoded<std::vector<storage::EntryBlocks>> decode_repair(const proto::RepairList& in);

/// Numbers that no lane has are left to who knows how many there are.
void encode_move(const engine::NumberedMove& move, proto::MoveExtent& out);
engine::NumberedMove decode_move(const proto::MoveExtent& in);

void encode_ratio(std::uint64_t number, const engine::RepairRatio& ratio, proto::FecRatio& out);
Decoded<engine::RepairRatio> decode_ratio(const proto::FecRatio& in);

void encode_error(const Error& error, proto::Failure& out);

}  // namespace penstock::control
