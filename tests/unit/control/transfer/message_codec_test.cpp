#include "control/transfer/message_codec.h"

#include <doctest/doctest.h>

using namespace penstock;
using namespace penstock::control;

namespace {

storage::ManifestEntry file_entry() {
  storage::ManifestEntry entry;
  entry.root = 3;
  entry.path = std::string{"a/\xff\n"};
  entry.size = 5'000'000'000;
  entry.mode = 0640;
  entry.mtime_ns = -5;
  entry.identity[0] = std::byte{7};
  entry.holes = {{0, 1000}, {4096, 8192}};
  return entry;
}

}  // namespace

TEST_CASE("message codec: entries survive, whatever their names hold") {
  storage::ManifestEntry link;
  link.type = storage::FileType::symlink;
  link.path = "l";
  link.link_target = "../\xfe";
  storage::ManifestEntry directory;
  directory.type = storage::FileType::directory;
  directory.mode = 0755;
  for (const auto& entry : {file_entry(), link, directory}) {
    proto::Entry encoded;
    encode_entry(entry, encoded);
    const auto decoded = decode_entry(encoded);
    REQUIRE(decoded);
    CHECK(*decoded == entry);
  }
}

TEST_CASE("message codec: entries that no source writes are refused") {
  proto::Entry good;
  encode_entry(file_entry(), good);
  auto special = good;
  special.set_type(proto::SPECIAL);
  CHECK_FALSE(decode_entry(special));
  auto unspecified = good;
  unspecified.set_type(proto::FILE_TYPE_UNSPECIFIED);
  CHECK_FALSE(decode_entry(unspecified));
  auto odd_holes = good;
  odd_holes.add_holes(1);
  CHECK_FALSE(decode_entry(odd_holes));
  auto short_identity = good;
  short_identity.set_identity("short");
  CHECK_FALSE(decode_entry(short_identity));
  auto open = good;
  open.set_open_size(true);
  CHECK_FALSE(decode_entry(open));
}

TEST_CASE("message codec: verdicts survive, and held runs must ascend without touching") {
  storage::Verdict held;
  held.index = 9;
  held.action = storage::Action::held;
  held.held = {{0, 3}, {5, 1}};
  proto::Verdict encoded;
  encode_verdict(held, encoded);
  const auto decoded = decode_verdict(encoded);
  REQUIRE(decoded);
  CHECK(*decoded == held);

  auto touching = encoded;
  touching.set_held(2, 3);
  CHECK_FALSE(decode_verdict(touching));
  auto overflowing = encoded;
  overflowing.set_held(3, ~std::uint64_t{0});
  CHECK_FALSE(decode_verdict(overflowing));
  auto empty_run = encoded;
  empty_run.set_held(1, 0);
  CHECK_FALSE(decode_verdict(empty_run));
  auto odd = encoded;
  odd.add_held(1);
  CHECK_FALSE(decode_verdict(odd));
}

TEST_CASE("message codec: a refusal carries its reason") {
  proto::Verdict silent;
  silent.set_action(proto::REFUSE);
  CHECK_FALSE(decode_verdict(silent));
  storage::Verdict refused;
  refused.action = storage::Action::refuse;
  refused.error = Error{ErrorCode::FILE_EXISTS, "it is there", "x"};
  proto::Verdict encoded;
  encode_verdict(refused, encoded);
  const auto decoded = decode_verdict(encoded);
  REQUIRE(decoded);
  CHECK(decoded->error->code == ErrorCode::FILE_EXISTS);
  CHECK(decoded->error->path == "x");
  CHECK(decoded->error->side == ErrorSide::remote);
}

TEST_CASE("message codec: digests survive, and a torn one is refused") {
  storage::DigestRun run;
  run.index = 2;
  run.first_block = 5;
  run.blocks.resize(3);
  run.blocks[1].bytes[4] = std::byte{9};
  run.files.resize(1);
  run.files[0].bytes[31] = std::byte{1};
  proto::BlockDigests encoded;
  encode_digests(run, encoded);
  const auto decoded = decode_digests(encoded);
  REQUIRE(decoded);
  CHECK(decoded->index == run.index);
  CHECK(decoded->first_block == run.first_block);
  CHECK(decoded->blocks == run.blocks);
  CHECK(decoded->files == run.files);
  auto torn = encoded;
  torn.mutable_digests()->pop_back();
  CHECK_FALSE(decode_digests(torn));
  auto torn_sum = encoded;
  torn_sum.mutable_file_sha256(0)->pop_back();
  CHECK_FALSE(decode_digests(torn_sum));
}

TEST_CASE("message codec: repair lists survive, and runs that overflow are refused") {
  const std::vector<storage::EntryBlocks> blocks{{1, {2, 3}}, {4, {0, 1}}};
  proto::RepairList encoded;
  encode_repair(blocks, encoded);
  const auto decoded = decode_repair(encoded);
  REQUIRE(decoded);
  CHECK(*decoded == blocks);
  auto torn = encoded;
  torn.add_blocks(1);
  CHECK_FALSE(decode_repair(torn));
  auto overflowing = encoded;
  overflowing.set_blocks(2, ~std::uint64_t{0});
  CHECK_FALSE(decode_repair(overflowing));
}

TEST_CASE("message codec: moves of extents survive, of one and of all") {
  for (const engine::NumberedMove& move :
       {engine::NumberedMove{.number = 7, .move = {.from = 3, .to = 63, .extent = 1234567}},
        engine::NumberedMove{.number = 1, .move = {.from = 1, .to = 0, .extent = 0}},
        engine::NumberedMove{.number = 8, .move = {.from = 2, .to = 0, .extent = std::nullopt}}}) {
    proto::MoveExtent out;
    encode_move(move, out);
    const auto again = decode_move(out);
    CHECK(again.number == move.number);
    CHECK((again.move == move.move));
  }
}
