#include "control/transfer/message_codec.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "common/bytes/view.h"
#include "common/erasure/erasure_code.h"
#include "control/gate/admission.h"

namespace penstock::control {
namespace {

std::string to_bytes(std::span<const std::byte> data) { return std::string{bytes::as_text(data)}; }

std::optional<storage::FileType> decode_type(proto::FileType type) {
  switch (type) {
    case proto::REGULAR:
      return storage::FileType::regular;
    case proto::DIRECTORY:
      return storage::FileType::directory;
    case proto::SYMLINK:
      return storage::FileType::symlink;
    default:
      return std::nullopt;  // special files never travel
  }
}

std::optional<storage::Action> decode_action(proto::Action action) {
  switch (action) {
    case proto::SEND:
      return storage::Action::send;
    case proto::HELD:
      return storage::Action::held;
    case proto::SKIP_ENTRY:
      return storage::Action::skip;
    case proto::META_ONLY:
      return storage::Action::meta_only;
    case proto::DONE_BEFORE:
      return storage::Action::done_before;
    case proto::REFUSE:
      return storage::Action::refuse;
    default:
      return std::nullopt;
  }
}

}  // namespace

proto::FileType encode_type(storage::FileType type) {
  switch (type) {
    case storage::FileType::regular:
      return proto::REGULAR;
    case storage::FileType::directory:
      return proto::DIRECTORY;
    case storage::FileType::symlink:
      return proto::SYMLINK;
    case storage::FileType::special:
      return proto::SPECIAL;
  }
  return proto::FILE_TYPE_UNSPECIFIED;
}

void encode_entry(const storage::ManifestEntry& entry, proto::Entry& out) {
  out.set_root(entry.root);
  out.set_path(entry.path);
  out.set_type(encode_type(entry.type));
  out.set_size(entry.size);
  out.set_mode(entry.mode);
  out.set_mtime_ns(entry.mtime_ns);
  out.set_link_target(entry.link_target);
  if (entry.type == storage::FileType::regular) out.set_identity(to_bytes(entry.identity));
  for (const auto& hole : entry.holes) {
    out.add_holes(hole.offset);
    out.add_holes(hole.length);
  }
}

Decoded<storage::ManifestEntry> decode_entry(const proto::Entry& in) {
  const auto type = decode_type(in.type());
  if (!type || in.open_size()) return WireError::value_out_of_range;
  storage::ManifestEntry entry;
  entry.root = in.root();
  entry.path = in.path();
  entry.type = *type;
  entry.size = in.size();
  entry.mode = in.mode();
  entry.mtime_ns = in.mtime_ns();
  entry.link_target = in.link_target();
  if (*type == storage::FileType::regular) {
    if (in.identity().size() != entry.identity.size()) return WireError::value_out_of_range;
    std::ranges::copy(bytes::as_bytes(in.identity()), entry.identity.begin());
  } else if (!in.identity().empty()) {
    return WireError::value_out_of_range;
  }
  if (in.holes_size() % 2 != 0) return WireError::truncated;
  entry.holes.reserve(static_cast<std::size_t>(in.holes_size() / 2));
  for (int i = 0; i < in.holes_size(); i += 2) entry.holes.push_back({in.holes(i), in.holes(i + 1)});
  return entry;
}

void encode_verdict(const storage::Verdict& verdict, proto::Verdict& out) {
  out.set_index(verdict.index);
  out.set_action(static_cast<proto::Action>(verdict.action));
  for (const auto& run : verdict.held) {
    out.add_held(run.first);
    out.add_held(run.count);
  }
  if (verdict.error) encode_error(*verdict.error, *out.mutable_error());
}

Decoded<storage::Verdict> decode_verdict(const proto::Verdict& in) {
  const auto action = decode_action(in.action());
  if (!action) return WireError::value_out_of_range;
  if (in.held_size() % 2 != 0) return WireError::truncated;
  storage::Verdict verdict;
  verdict.index = in.index();
  verdict.action = *action;
  std::uint64_t end = 0;
  for (int i = 0; i < in.held_size(); i += 2) {
    const storage::BlockRun run{in.held(i), in.held(i + 1)};
    if (run.count == 0 || run.count > std::numeric_limits<std::uint64_t>::max() - run.first)
      return WireError::value_out_of_range;
    if (i > 0 && run.first <= end) return WireError::not_ordered;
    end = run.end();
    verdict.held.push_back(run);
  }
  if ((*action == storage::Action::held) == verdict.held.empty()) return WireError::value_out_of_range;
  if (in.has_error()) verdict.error = error_of_failure(in.error());
  if (*action == storage::Action::refuse && !verdict.error) return WireError::value_out_of_range;
  return verdict;
}

void encode_digests(const storage::DigestRun& run, proto::BlockDigests& out) {
  out.set_index(run.index);
  out.set_first_block(run.first_block);
  auto& blocks = *out.mutable_digests();
  blocks.reserve(run.blocks.size() * 16);
  for (const auto& digest : run.blocks) blocks.append(bytes::as_text(digest.bytes));
  for (const auto& digest : run.files) out.add_file_sha256(to_bytes(digest.bytes));
}

Decoded<storage::DigestRun> decode_digests(const proto::BlockDigests& in) {
  storage::DigestRun run;
  run.index = in.index();
  run.first_block = in.first_block();
  if (in.digests().size() % 16 != 0) return WireError::truncated;
  run.blocks.resize(in.digests().size() / 16);
  auto from = bytes::as_bytes(in.digests());
  for (auto& digest : run.blocks) {
    std::ranges::copy(from.first(16), digest.bytes.begin());
    from = from.subspan(16);
  }
  run.files.resize(static_cast<std::size_t>(in.file_sha256_size()));
  for (int i = 0; i < in.file_sha256_size(); ++i) {
    if (in.file_sha256(i).size() != 32) return WireError::truncated;
    std::ranges::copy(bytes::as_bytes(in.file_sha256(i)), run.files[static_cast<std::size_t>(i)].bytes.begin());
  }
  return run;
}

void encode_repair(std::span<const storage::EntryBlocks> blocks, proto::RepairList& out) {
  for (const auto& run : blocks) {
    out.add_blocks(run.index);
    out.add_blocks(run.blocks.first);
    out.add_blocks(run.blocks.count);
  }
}

Decoded<std::vector<storage::EntryBlocks>> decode_repair(const proto::RepairList& in) {
  if (in.blocks_size() % 3 != 0) return WireError::truncated;
  std::vector<storage::EntryBlocks> blocks;
  blocks.reserve(static_cast<std::size_t>(in.blocks_size() / 3));
  for (int i = 0; i < in.blocks_size(); i += 3) {
    const storage::EntryBlocks run{in.blocks(i), {in.blocks(i + 1), in.blocks(i + 2)}};
    if (run.blocks.count == 0 || run.blocks.count > std::numeric_limits<std::uint64_t>::max() - run.blocks.first)
      return WireError::value_out_of_range;
    blocks.push_back(run);
  }
  return blocks;
}

void encode_move(const engine::NumberedMove& move, proto::MoveExtent& out) {
  out.set_number(move.number);
  out.set_from(static_cast<std::uint32_t>(move.move.from));
  out.set_to(static_cast<std::uint32_t>(move.move.to));
  out.set_all(!move.move.extent);
  if (move.move.extent) out.set_extent(*move.move.extent);
}

engine::NumberedMove decode_move(const proto::MoveExtent& in) {
  engine::NumberedMove move{.number = in.number(), .move = {.from = in.from(), .to = in.to()}};
  if (!in.all()) move.move.extent = in.extent();
  return move;
}

void encode_ratio(std::uint64_t number, const engine::RepairRatio& ratio, proto::FecRatio& out) {
  out.set_number(number);
  out.set_sources(ratio.sources);
  out.set_repairs(ratio.repairs);
  out.set_loss_ppm(ratio.loss_ppm);
  out.set_window(ratio.window);
}

Decoded<engine::RepairRatio> decode_ratio(const proto::FecRatio& in) {
  if (in.number() == 0 || in.sources() == 0 || in.sources() > erasure::source_symbols_max)
    return WireError::value_out_of_range;
  if (in.repairs() > erasure::repair_symbols_max || in.window() > engine::repair_window_max)
    return WireError::value_out_of_range;
  return engine::RepairRatio{.sources = static_cast<std::uint8_t>(in.sources()),
                             .repairs = static_cast<std::uint8_t>(in.repairs()),
                             .loss_ppm = in.loss_ppm(),
                             .window = in.window()};
}

void encode_error(const Error& error, proto::Failure& out) { out = failure_envelope(error).failure(); }

}  // namespace penstock::control
