#include "control/transfer/sink_side.h"

#include <doctest/doctest.h>

#include "control/transfer/message_codec.h"
#include "control/transfer/message_order.h"
#include "tests/unit/control/transfer/side_fakes.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::uint64_t size = 1000;

/// A sink that is sent three files of 1000 bytes each.
struct Scene {
  explicit Scene(SinkSideConfig config = {}) : side(config, host, lane) { side.start(sink); }

  void segment(std::uint64_t first, int count) {
    proto::Envelope envelope;
    envelope.mutable_manifest_segment()->set_first_index(first);
    for (int i = 0; i < count; ++i)
      encode_entry(file_entry(std::string(1, static_cast<char>('a' + i)), size),
                   *envelope.mutable_manifest_segment()->add_entries());
    side.handle(envelope);
  }
  void manifest_end(std::uint64_t entries, std::uint64_t bytes) {
    proto::Envelope envelope;
    envelope.mutable_manifest_end()->set_entries(entries);
    envelope.mutable_manifest_end()->set_bytes(bytes);
    side.handle(envelope);
  }
  void verdicts(std::uint64_t decided, std::vector<storage::Verdict> exceptions = {}) {
    storage::SinkVerdicts made;
    made.decided = decided;
    made.exceptions = std::move(exceptions);
    made.space_end = TransferOffset{decided * size};
    side.on_verdicts(std::move(made));
  }
  void finish() {
    proto::Envelope envelope;
    envelope.mutable_finish();
    side.handle(envelope);
  }
  void drain() { side.on_drained(TransferOffset{3 * size}); }
  void receive_all() {
    segment(0, 3);
    manifest_end(3, 3 * size);
    verdicts(3);
    drain();
    finish();
  }
  void source_failure(std::uint64_t index, std::uint64_t offset, std::uint64_t length) {
    proto::Envelope envelope;
    auto* failure = envelope.mutable_entry_failure();
    failure->set_index(index);
    failure->set_offset(offset);
    failure->set_length(length);
    encode_error({ErrorCode::SOURCE_CHANGED, "it changed", "b"}, *failure->mutable_error());
    side.handle(envelope);
  }

  FakeHost host;
  FakeReceiverLane lane;
  std::shared_ptr<FakeSink> sink = std::make_shared<FakeSink>();
  SinkSide side;
};

storage::AuditResult missing(std::uint64_t index) {
  storage::AuditResult result;
  result.repair.push_back({index, {0, 1}});
  result.forget.push_back({TransferOffset{index * size}, TransferOffset{(index + 1) * size}});
  return result;
}

}  // namespace

TEST_CASE("sink side: bytes are expected as far as the manifest is decided, and what is withheld is withheld first") {
  Scene scene;
  scene.segment(0, 3);
  CHECK(scene.sink->received.size() == 3);
  CHECK(scene.lane.expected == 0);
  storage::SinkVerdicts verdicts;
  verdicts.decided = 2;
  verdicts.space_end = TransferOffset{2 * size};
  verdicts.withhold.push_back({TransferOffset{0}, TransferOffset{size}});
  scene.side.on_verdicts(verdicts);
  CHECK(scene.lane.expected == 2 * size);
  CHECK(scene.lane.withheld.size() == 1);
  const auto told = scene.host.take(proto::Envelope::kVerdicts);
  REQUIRE(told.size() == 1);
  CHECK(told[0].verdicts().decided() == 2);
}

TEST_CASE("sink side: the audit waits for Finish and for the last byte, in either order") {
  for (const bool finish_first : {false, true}) {
    Scene scene;
    scene.segment(0, 3);
    scene.manifest_end(3, 3 * size);
    scene.verdicts(3);
    CHECK(scene.lane.finished == 3 * size);
    if (finish_first) {
      scene.finish();
    } else {
      scene.drain();
    }
    CHECK(scene.sink->audits == 0);
    if (finish_first) {
      scene.drain();
    } else {
      scene.finish();
    }
    CHECK(scene.sink->audits == 1);
  }
}

TEST_CASE("sink side: before its start nothing that the peer or the lane says has any effect") {
  FakeHost host;
  FakeReceiverLane lane;
  SinkSide side{{}, host, lane};
  proto::Envelope segment;
  segment.mutable_manifest_segment()->set_first_index(0);
  encode_entry(file_entry("a", size), *segment.mutable_manifest_segment()->add_entries());
  proto::Envelope end;
  end.mutable_manifest_end();
  proto::Envelope digests;
  digests.mutable_block_digests()->set_digests(std::string(16, 'x'));
  proto::Envelope failure;
  failure.mutable_entry_failure();
  proto::Envelope finish;
  finish.mutable_finish();
  for (const auto& envelope : {segment, end, digests, failure, finish}) side.handle(envelope);
  side.on_drained(TransferOffset{0});
  side.on_bandwidth_delay_product(1);
  int checkpoints = 0;
  side.checkpoint([&] { ++checkpoints; });
  CHECK(checkpoints == 1);
  CHECK(host.sent.empty());
  CHECK(host.failures.empty());
  CHECK(host.committed == 0);
  CHECK_FALSE(lane.finished);
  CHECK(side.backlog() == 0);
}

TEST_CASE("sink side: who interrupts a commit waits for it, and it counts") {
  Scene scene;
  scene.receive_all();
  scene.side.on_audited({});
  REQUIRE(scene.sink->commits == 1);
  int stopped = 0;
  scene.side.checkpoint([&] {
    CHECK(scene.host.committed == 1);
    ++stopped;
  });
  CHECK(stopped == 0);
  CHECK(scene.sink->checkpoints == 0);
  scene.side.on_committed({});
  CHECK(stopped == 1);
  CHECK(scene.side.committed());
}

TEST_CASE("sink side: who interrupts a commit that fails is let go of, too") {
  Scene scene;
  scene.receive_all();
  scene.side.on_audited({});
  int stopped = 0;
  scene.side.checkpoint([&] { ++stopped; });
  scene.side.on_sink_failed({ErrorCode::IO_ERROR, "the disk is gone"});
  CHECK(stopped == 1);
  CHECK(scene.host.committed == 0);
  CHECK(scene.host.failures.size() == 1);
}

TEST_CASE("sink side: nothing missing leads to the commit") {
  Scene scene;
  scene.receive_all();
  scene.side.on_audited({});
  CHECK(scene.sink->commits == 1);
  storage::SinkTotals totals;
  totals.files = 3;
  scene.side.on_committed(totals);
  CHECK(scene.host.committed == 1);
  CHECK(scene.side.totals().files == 3);
}

TEST_CASE("sink side: three repair rounds, then the file is left out and the others are committed") {
  Scene scene;
  scene.receive_all();
  for (std::uint32_t round = 1; round <= repair_rounds_max; ++round) {
    CAPTURE(round);
    scene.side.on_audited(missing(1));
    const auto lists = scene.host.take(proto::Envelope::kRepairList);
    REQUIRE(lists.size() == 1);
    CHECK(lists[0].repair_list().round() == round);
    CHECK(scene.lane.forgotten.size() == round);
    scene.finish();  // before the bytes are there again
    CHECK(scene.sink->audits == static_cast<int>(round));
    scene.drain();
    CHECK(scene.sink->audits == static_cast<int>(round) + 1);
  }
  scene.side.on_audited(missing(1));
  CHECK(scene.sink->failed == std::vector<std::uint64_t>{1});
  CHECK(scene.host.take(proto::Envelope::kEntryFailure).size() == 1);
  REQUIRE(scene.side.lasting_error());
  CHECK(scene.side.lasting_error()->code == ErrorCode::DIGEST_MISMATCH);
  scene.side.on_audited({});
  CHECK(scene.sink->commits == 1);
}

TEST_CASE("sink side: a target that exists ends the transfer, and so does a full disk") {
  storage::Verdict refused;
  refused.index = 1;
  refused.action = storage::Action::refuse;
  refused.error = Error{ErrorCode::FILE_EXISTS, "it is there", "b"};
  Scene conflict;
  conflict.segment(0, 3);
  conflict.verdicts(3, {refused});
  REQUIRE(conflict.host.failures.size() == 1);
  CHECK(conflict.host.failures[0].code == ErrorCode::FILE_EXISTS);

  Scene full;
  full.segment(0, 3);
  full.verdicts(3);
  full.side.on_entry_failed(2, {ErrorCode::NO_SPACE, "full", "c"});
  REQUIRE(full.host.failures.size() == 1);
  CHECK(full.host.failures[0].code == ErrorCode::NO_SPACE);
}

TEST_CASE("sink side: an entry that fails on its own is told once, and the others go on") {
  Scene scene;
  scene.segment(0, 3);
  scene.verdicts(3);
  scene.side.on_entry_failed(2, {ErrorCode::IO_ERROR, "no", "c"});
  scene.side.on_entry_failed(2, {ErrorCode::IO_ERROR, "no", "c"});
  CHECK(scene.host.failures.empty());
  CHECK(scene.host.warnings.size() == 1);
  CHECK(scene.host.take(proto::Envelope::kEntryFailure).size() == 1);
  // The source answers with the bytes that nobody waits for any more: no second failure.
  scene.source_failure(2, 2 * size, size);
  CHECK(scene.lane.withheld.size() == 1);
  CHECK(scene.side.entries_failed() == 1);
}

TEST_CASE(
    "sink side: where nothing at all can be made the transfer fails by the first reason, and is not partly done") {
  const Error denied{ErrorCode::PERMISSION_DENIED, "no", "/x/a"};
  Scene all;
  all.segment(0, 2);
  all.verdicts(2);
  all.side.on_entry_failed(0, denied);
  all.side.on_entry_failed(1, {ErrorCode::NOT_FOUND, "no", "/x/b"});
  CHECK(all.host.failures.empty());  // there may be more to come
  all.manifest_end(2, 2 * size);
  REQUIRE(all.host.failures.size() == 1);
  CHECK(all.host.failures[0].code == ErrorCode::PERMISSION_DENIED);
  CHECK(all.host.failures[0].path == "/x/a");

  Scene single;
  single.segment(0, 1);
  single.manifest_end(1, size);
  single.verdicts(1);
  single.side.on_entry_failed(0, denied);
  REQUIRE(single.host.failures.size() == 1);
  CHECK(single.host.warnings.empty());  // it is told once

  Scene most;
  most.segment(0, 3);
  most.manifest_end(3, 3 * size);
  most.verdicts(3);
  most.side.on_entry_failed(0, denied);
  most.side.on_entry_failed(1, denied);
  most.source_failure(2, 2 * size, size);  // the source's trouble is a warning, whatever else there is
  CHECK(most.host.failures.empty());
  CHECK(most.side.entries_failed() == 3);
}

TEST_CASE("sink side: a source's failure frees its bytes, and only those that the manifest has described") {
  Scene scene;
  scene.segment(0, 3);
  scene.verdicts(3);
  scene.source_failure(1, size, size);
  CHECK(scene.sink->failed == std::vector<std::uint64_t>{1});
  CHECK(scene.lane.withheld.size() == 1);
  scene.source_failure(2, 2 * size, 2 * size);
  CHECK(scene.host.failures.size() == 1);
}

TEST_CASE("sink side: a file that has vanished may fail before our storage has decided on it, by TCP and by the pipe") {
  // The source lists three files and finds the second gone at once.
  FakeHost source_host;
  FakeSenderLane source_lane;
  const auto reader = std::make_shared<FakeReader>();
  SourceSide source{{}, source_host, source_lane};
  source.start(reader);
  source.on_entries(0, {file_entry("a", size), file_entry("b", size), file_entry("c", size)}, {}, 3 * size, true);
  source.on_released(TransferOffset{3 * size}, {});
  source.on_file_failed(1, {TransferOffset{size}, TransferOffset{2 * size}}, {ErrorCode::NOT_FOUND, "gone", "b"});
  DualNumbering numbering;
  for (auto& envelope : source_host.sent) numbering.stamp(envelope);
  const auto& sent = source_host.sent;
  REQUIRE(sent.size() == 3);
  REQUIRE(sent[0].has_manifest_segment());
  REQUIRE(sent[2].has_entry_failure());

  for (const bool failure_overtakes : {false, true}) {
    CAPTURE(failure_overtakes);
    Scene scene;
    DualOrder order;
    if (failure_overtakes) REQUIRE(order.accept(sent[2], DualOrder::Way::pipe));
    for (const auto& envelope : sent) REQUIRE(order.accept(envelope, DualOrder::Way::tcp));
    while (const auto envelope = order.poll()) scene.side.handle(*envelope);
    CHECK(scene.host.failures.empty());
    CHECK(scene.sink->failed == std::vector<std::uint64_t>{1});
    CHECK(scene.host.warnings.size() == 1);
    CHECK(scene.lane.withheld == std::vector<TransferRange>{{TransferOffset{size}, TransferOffset{2 * size}}});
    scene.verdicts(3);
    scene.drain();
    scene.finish();
    CHECK(scene.sink->audits == 1);
    CHECK(scene.side.bytes_given_up() == size);
    CHECK(source.bytes_given_up() == size);
  }
}

TEST_CASE("sink side: a source that breaks the order of things is refused") {
  const auto refused = [](auto act) {
    Scene scene;
    scene.segment(0, 3);
    act(scene);
    return scene.host.failures.size() == 1 && scene.host.failures[0].side == ErrorSide::remote;
  };
  CHECK(refused([](Scene& s) { s.segment(0, 1); }));              // indices that repeat
  CHECK(refused([](Scene& s) { s.segment(4, 1); }));              // or leave a gap
  CHECK(refused([](Scene& s) { s.segment(3, 0); }));              // an empty segment
  CHECK(refused([](Scene& s) { s.manifest_end(2, 2 * size); }));  // sums that do not add up
  CHECK(refused([](Scene& s) { s.finish(); }));                   // the end before the manifest's
  CHECK(refused([](Scene& s) {                                    // a manifest that goes on after its end
    s.manifest_end(3, 3 * size);
    s.segment(3, 1);
  }));
  CHECK(refused([](Scene& s) {  // bytes that the entries do not have
    s.manifest_end(3, 4 * size);
    s.verdicts(3);
  }));
  CHECK(refused([](Scene& s) {  // the sink's own words
    proto::Envelope envelope;
    envelope.mutable_commit();
    s.side.handle(envelope);
  }));
}

TEST_CASE("sink side: an interruption makes durable what has come, and nothing is answered after it") {
  Scene scene;
  scene.segment(0, 3);
  bool done = false;
  scene.side.checkpoint([&] { done = true; });
  CHECK(done);
  CHECK(scene.sink->checkpoints == 1);
  scene.verdicts(3);
  CHECK(scene.host.sent.empty());
  scene.side.close();
  CHECK(scene.sink->closed);
}
