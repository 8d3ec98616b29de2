#include "control/transfer/source_side.h"

#include <doctest/doctest.h>

#include <set>

#include "control/transfer/message_codec.h"
#include "tests/unit/control/transfer/side_fakes.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::uint64_t size = 1000;

/// A source of three files of 1000 bytes each, its manifest walked.
struct Scene {
  explicit Scene(SourceSideConfig config = {}) : side(config, host, lane) { side.start(reader); }

  void walk_all() {
    side.on_entries(0, {file_entry("a", size), file_entry("b", size), file_entry("c", size)}, {}, 3 * size, true);
  }
  void decide(std::uint64_t decided, std::vector<storage::Verdict> exceptions = {}) {
    proto::Envelope envelope;
    envelope.mutable_verdicts()->set_decided(decided);
    for (const auto& exception : exceptions) encode_verdict(exception, *envelope.mutable_verdicts()->add_exceptions());
    side.handle(envelope);
  }
  /// Answers the oldest release.
  void answer_release(std::vector<TransferRange> withhold = {}) {
    REQUIRE_FALSE(reader->releases.empty());
    const auto release = reader->releases.front();
    reader->releases.pop_front();
    side.on_released(TransferOffset{release.decided * size}, std::move(withhold));
  }
  void read_all() { side.on_all_read(); }
  void drain() { side.on_drained(TransferOffset{3 * size}); }
  void to_finish() {
    walk_all();
    answer_release();
    decide(3);
    answer_release();
    read_all();
    drain();
  }
  std::size_t finishes() { return host.take(proto::Envelope::kFinish).size(); }

  FakeHost host;
  FakeSenderLane lane;
  std::shared_ptr<FakeReader> reader = std::make_shared<FakeReader>();
  SourceSide side;
};

proto::Envelope commit() {
  proto::Envelope envelope;
  envelope.mutable_commit();
  return envelope;
}
proto::Envelope repair(std::uint32_t round) {
  proto::Envelope envelope;
  envelope.mutable_repair_list()->set_round(round);
  encode_repair(std::vector<storage::EntryBlocks>{{1, {0, 1}}}, *envelope.mutable_repair_list());
  return envelope;
}

}  // namespace

TEST_CASE("source side: before its start nothing that the peer or the lane says has any effect") {
  FakeHost host;
  FakeSenderLane lane;
  SourceSide side{{}, host, lane};
  proto::Envelope verdicts;
  verdicts.mutable_verdicts();
  proto::Envelope failure;
  failure.mutable_entry_failure();
  for (const auto& envelope : {verdicts, repair(1), failure, commit()}) side.handle(envelope);
  side.on_drained(TransferOffset{0});
  side.on_room();
  CHECK(host.sent.empty());
  CHECK(host.failures.empty());
  CHECK(host.committed == 0);
  CHECK_FALSE(lane.finished);
  CHECK_FALSE(side.committed());
}

TEST_CASE("source side: without waiting for verdicts bytes are offered at once") {
  Scene scene;
  scene.walk_all();
  scene.answer_release();
  CHECK(scene.lane.offered == 3 * size);
  CHECK_FALSE(scene.lane.finished);  // a verdict may still withhold some of it
  scene.decide(3);
  scene.answer_release();
  CHECK(scene.lane.finished == 3 * size);
}

TEST_CASE("source side: awaiting verdicts, no byte is offered beyond the decided entry") {
  Scene scene{{.await_verdicts = true}};
  scene.walk_all();
  CHECK(scene.reader->releases.empty());
  CHECK(scene.lane.offered == 0);
  scene.decide(1);
  scene.answer_release();
  CHECK(scene.lane.offered == size);
  storage::Verdict skip;
  skip.index = 2;
  skip.action = storage::Action::skip;
  scene.decide(3, {skip});
  CHECK(scene.reader->releases.front().exceptions.size() == 1);
  scene.answer_release({{TransferOffset{2 * size}, TransferOffset{3 * size}}});
  CHECK(scene.lane.withheld.size() == 1);
  CHECK(scene.lane.finished == 3 * size);
}

TEST_CASE("source side: Finish needs every file read and every entry decided, in any order, and waits for no ACK") {
  for (int missing = 0; missing < 2; ++missing) {
    CAPTURE(missing);
    Scene scene{{.await_verdicts = true}};
    scene.walk_all();
    scene.decide(missing == 0 ? 2 : 3);
    scene.answer_release();
    if (missing != 1) scene.read_all();
    CHECK(scene.finishes() == 0);
    if (missing == 0) {
      scene.decide(3);
      scene.answer_release();
      scene.read_all();
    }
    if (missing == 1) scene.read_all();
    CHECK(scene.finishes() == 1);
  }
}

TEST_CASE("source side: what was read before the last release does not count as all") {
  Scene scene{{.await_verdicts = true}};
  scene.walk_all();
  scene.decide(1);
  scene.answer_release();
  scene.decide(3);
  scene.read_all();  // of the first file, on its way when the release was asked for
  scene.answer_release();
  scene.drain();
  CHECK(scene.finishes() == 0);
  scene.read_all();
  CHECK(scene.finishes() == 1);
}

TEST_CASE("source side: at most three repair rounds, each ended by a Finish after the bytes have arrived again") {
  Scene scene;
  scene.to_finish();
  CHECK(scene.finishes() == 1);
  for (std::uint32_t round = 1; round <= repair_rounds_max; ++round) {
    CAPTURE(round);
    scene.side.handle(repair(round));
    REQUIRE(scene.reader->resends.size() == round);
    scene.side.on_resend({{TransferOffset{size}, TransferOffset{2 * size}}});
    CHECK(scene.lane.resent.size() == round);
    CHECK(scene.finishes() == 0);
    scene.drain();
    CHECK(scene.finishes() == 1);
  }
  scene.side.handle(repair(repair_rounds_max + 1));
  CHECK(scene.host.failures.size() == 1);
}

TEST_CASE("source side: a changed file is told with its range, and is not in the receipt") {
  Scene scene;
  scene.walk_all();
  scene.answer_release();
  scene.side.on_file_read(
      {.index = 0, .root = 0, .path = "a", .target_path = {}, .size = size, .digest = digest::Xxh3{}});
  scene.side.on_file_read(
      {.index = 1, .root = 0, .path = "b", .target_path = {}, .size = size, .digest = digest::Xxh3{}});
  scene.side.on_file_failed(1, {TransferOffset{size}, TransferOffset{2 * size}},
                            {ErrorCode::SOURCE_CHANGED, "it changed", "b"});
  const auto told = scene.host.take(proto::Envelope::kEntryFailure);
  REQUIRE(told.size() == 1);
  CHECK(told[0].entry_failure().offset() == size);
  CHECK(told[0].entry_failure().length() == size);
  CHECK(scene.lane.withheld.size() == 1);
  CHECK(scene.host.warnings.size() == 1);
  CHECK(scene.side.left_out() == std::set<std::uint64_t>{1});
}

TEST_CASE(
    "source side: an entry that the sink gave up is withheld, and the sink hears which bytes it need not wait for") {
  Scene scene;
  scene.walk_all();
  scene.answer_release();
  proto::Envelope failure;
  failure.mutable_entry_failure()->set_index(1);
  encode_error({ErrorCode::PERMISSION_DENIED, "not there", "b"}, *failure.mutable_entry_failure()->mutable_error());
  scene.side.handle(failure);
  scene.side.handle(failure);  // told twice, counted once
  CHECK(scene.side.totals().files_failed == 1);
  CHECK(scene.reader->abandoned == std::vector<std::uint64_t>{1});
  scene.answer_release({{TransferOffset{size}, TransferOffset{2 * size}}});
  CHECK(scene.lane.withheld.size() == 1);
  const auto told = scene.host.take(proto::Envelope::kEntryFailure);
  REQUIRE(told.size() == 1);
  CHECK(told[0].entry_failure().offset() == size);
}

TEST_CASE("source side: the walk pauses while TCP has no room") {
  Scene scene;
  CHECK(scene.reader->requests == 1);
  scene.host.room = false;
  scene.side.on_entries(0, {file_entry("a", size)}, {}, size, false);
  CHECK(scene.reader->requests == 1);
  scene.host.room = true;
  scene.side.on_room();
  CHECK(scene.reader->requests == 2);
}

TEST_CASE("source side: a long batch becomes segments of bounded size with consecutive indices") {
  Scene scene;
  std::vector<storage::ManifestEntry> entries;
  for (int i = 0; i < 500; ++i) entries.push_back(file_entry(std::string(200, 'n') + std::to_string(1000 + i), 1));
  scene.side.on_entries(0, entries, {}, 500, true);
  std::uint64_t next = 0;
  const auto segments = scene.host.take(proto::Envelope::kManifestSegment);
  CHECK(segments.size() > 2);
  for (const auto& segment : segments) {
    CHECK(segment.manifest_segment().first_index() == next);
    CHECK(segment.ByteSizeLong() < manifest_segment_bytes + 1024);
    next += static_cast<std::uint64_t>(segment.manifest_segment().entries_size());
  }
  CHECK(next == 500);
}

TEST_CASE("source side: a commit ends it, and only after Finish") {
  Scene early;
  early.walk_all();
  early.side.handle(commit());
  CHECK(early.host.failures.size() == 1);
  Scene scene;
  scene.to_finish();
  scene.side.handle(commit());
  CHECK(scene.host.committed == 1);
  CHECK(scene.side.committed());
  scene.side.handle(commit());
  CHECK(scene.host.committed == 1);
}

TEST_CASE("source side: verdicts that make no sense end the transfer") {
  const auto refused = [](std::uint64_t decided, std::vector<storage::Verdict> exceptions) {
    Scene scene{{.await_verdicts = true}};
    scene.walk_all();
    scene.decide(2);
    scene.decide(decided, std::move(exceptions));
    return scene.host.failures.size() == 1;
  };
  storage::Verdict skip;
  skip.action = storage::Action::skip;
  const auto at = [&](std::uint64_t index) {
    auto verdict = skip;
    verdict.index = index;
    return verdict;
  };
  CHECK(refused(1, {}));              // backwards
  CHECK(refused(4, {}));              // beyond the manifest
  CHECK(refused(3, {at(3)}));         // not decided
  CHECK(refused(3, {at(1)}));         // decided before
  CHECK(refused(3, {at(2), at(2)}));  // twice
  CHECK_FALSE(refused(3, {at(2)}));
}

TEST_CASE("source side: a dry run sends no byte and tells what each entry would meet") {
  Scene scene{{.await_verdicts = false, .dry_run = true}};
  scene.walk_all();
  storage::Verdict skip;
  skip.index = 1;
  skip.action = storage::Action::skip;
  scene.decide(3, {skip});
  CHECK(scene.reader->releases.empty());
  CHECK(scene.finishes() == 1);
  const std::vector<std::pair<std::string, EntryOutcome>> expected{
      {"a", EntryOutcome::finished}, {"b", EntryOutcome::skipped}, {"c", EntryOutcome::finished}};
  CHECK(scene.host.entries == expected);
}

TEST_CASE("source side: a dry run remembers the first conflict, which a real run would have ended with") {
  Scene scene{{.await_verdicts = false, .dry_run = true}};
  scene.walk_all();
  storage::Verdict refused;
  refused.index = 1;
  refused.action = storage::Action::refuse;
  refused.error = Error{ErrorCode::FILE_EXISTS, "it is there", "b"};
  scene.decide(3, {refused});
  REQUIRE(scene.side.totals().refusal);
  CHECK(scene.side.totals().refusal->code == ErrorCode::FILE_EXISTS);
  CHECK(scene.host.entries[1].second == EntryOutcome::refused);
  CHECK(scene.finishes() == 1);
}
