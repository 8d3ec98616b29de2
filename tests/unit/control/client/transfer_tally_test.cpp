#include "control/client/transfer_tally.h"

#include <doctest/doctest.h>

#include "common/bytes/hex.h"
#include "control/client/transfer_request.h"

using namespace penstock;
using namespace penstock::control;
using namespace std::chrono_literals;

namespace {

constexpr TransferTally::TimePoint begun{};

proto::Commit commit(std::uint64_t bytes, std::uint64_t resumed, std::uint64_t skipped) {
  proto::Commit made;
  made.set_files(3);
  made.set_bytes(bytes);
  made.set_bytes_resumed(resumed);
  made.set_bytes_skipped(skipped);
  made.set_files_skipped(1);
  return made;
}

RunStats session_of(std::uint64_t bytes, std::uint64_t withheld, std::uint64_t packets) {
  RunStats stats;
  stats.bytes = bytes;
  stats.bytes_withheld = withheld;
  stats.lane.packets_sent = packets;
  stats.lane.packets_lost = packets / 10;
  stats.lane.payload_bytes_retransmitted = packets * 7;
  return stats;
}

/// The same, when the sink has decided on all and holds so much.
RunStats decided(RunStats stats, std::uint64_t held) {
  stats.all_decided = true;
  stats.bytes_held = held;
  return stats;
}

}  // namespace

TEST_CASE("transfer tally: bytes are sent, resumed and skipped, nothing twice") {
  const TransferTally tally{begun};
  const auto summary = tally.summary(begun + 2s, commit(1000, 300, 200), {});
  CHECK(summary.files == 3);
  CHECK(summary.files_skipped == 1);
  CHECK(summary.bytes == 1000);
  CHECK(summary.bytes_resumed == 300);
  CHECK(summary.bytes_skipped == 200);
  CHECK(summary.bytes_sent == 500);
  CHECK(summary.seconds == 2.0);
  CHECK(summary.goodput_bps == 2000);
  CHECK_FALSE(summary.partial);
}

TEST_CASE("transfer tally: what an earlier session of the same run has sent is sent, not resumed") {
  TransferTally tally{begun};
  tally.on_session_begun(true);
  tally.on_session_over(decided(session_of(400, 100, 50), 100));  // 300 sent, 100 from an earlier run
  tally.on_session_begun(true);
  tally.on_progress(decided(session_of(400, 400, 0), 400));
  const auto summary = tally.summary(begun + 1s, commit(1000, 400, 0),
                                     {.packets_sent = 70, .packets_lost = 1, .bytes_retransmitted = 9, .rtt_ms = 3.5});
  CHECK(summary.bytes_resumed == 100);
  CHECK(summary.bytes_sent == 900);
  CHECK(summary.packets_sent == 120);
  CHECK(summary.packets_lost == 6);
  CHECK(summary.bytes_retransmitted == 359);
  CHECK(summary.rtt_ms == 3.5);
}

TEST_CASE(
    "transfer tally: a run that began anew has resumed nothing, however stale its counts were when it was cut off") {
  TransferTally tally{begun};
  tally.on_session_begun(false);
  tally.on_session_over(session_of(100, 0, 50));  // more has arrived since this was counted
  tally.on_session_begun(true);
  tally.on_progress(decided(session_of(400, 400, 0), 400));
  const auto summary = tally.summary(begun + 1s, commit(1000, 400, 0), {});
  CHECK(summary.bytes_resumed == 0);
  CHECK(summary.bytes_sent == 1000);
}

TEST_CASE(
    "transfer tally: what was sent and not durable when a session was cut off takes nothing from what was resumed") {
  TransferTally tally{begun};
  tally.on_session_begun(true);
  tally.on_session_over(decided(session_of(400, 100, 50), 100));  // of the 300 sent, 50 were durable
  tally.on_session_begun(true);
  CHECK(tally.summary(begun + 1s, commit(1000, 150, 0), {}).bytes_resumed == 100);
}

TEST_CASE("transfer tally: where the first session ended before all was decided, what it sent is not resumed") {
  TransferTally tally{begun};
  tally.on_session_begun(true);
  tally.on_session_over(session_of(80, 50, 0));  // 30 sent
  tally.on_session_begun(true);
  tally.on_progress(decided(session_of(130, 130, 0), 130));
  CHECK(tally.summary(begun + 1s, commit(1000, 130, 0), {}).bytes_resumed == 100);
}

TEST_CASE("transfer tally: a daemon that claims more than there is makes no number wrap around") {
  TransferTally tally{begun};
  tally.on_session_begun(false);
  tally.on_session_over(session_of(900, 1000, 0));  // counts of two moments
  const auto summary = tally.summary(begun, commit(1000, 200, 5000), {});
  CHECK(summary.bytes_resumed == 0);
  CHECK(summary.bytes_sent == 0);
  CHECK(summary.goodput_bps == 0);
}

TEST_CASE("transfer tally: entries left out make the end PARTIAL, and say how many") {
  TransferTally tally{begun};
  tally.on_left_out({ErrorCode::PERMISSION_DENIED, "no"});
  CHECK(tally.summary(begun, {}, {}).partial->message.starts_with("1 entry was left out"));
  tally.on_left_out({ErrorCode::SOURCE_CHANGED, "changed"});
  const auto summary = tally.summary(begun, {}, {});
  CHECK(summary.files_failed == 2);
  CHECK(summary.partial->code == ErrorCode::PARTIAL);
  CHECK(summary.partial->message.starts_with("2 entries were left out"));
  CHECK_FALSE(tally.integrity_error());
}

TEST_CASE("transfer tally: the first file that could not be made right decides the end") {
  TransferTally tally{begun};
  tally.on_left_out({ErrorCode::DIGEST_MISMATCH, "first"});
  tally.on_left_out({ErrorCode::DIGEST_MISMATCH, "second"});
  REQUIRE(tally.integrity_error());
  CHECK(tally.integrity_error()->message == "first");
}

TEST_CASE("transfer tally: what two sessions of one run both had to leave out counts once") {
  TransferTally tally{begun};
  for (int session = 0; session < 2; ++session) {
    tally.on_session_begun(session > 0);
    tally.on_left_out({ErrorCode::PERMISSION_DENIED, "no"});
  }
  CHECK(tally.summary(begun, {}, {}).files_failed == 1);
}

TEST_CASE("shown digest: of one file its own, of several and of none the list's") {
  const std::vector<std::byte> xxh3(16, std::byte{0xab});
  const std::vector<ReceiptLine> one{{"a", 1, xxh3}};
  CHECK(shown_digest(one, DigestKind::xxh3) == "xxh3:" + bytes::to_hex(xxh3));
  const std::vector<ReceiptLine> two{{"a", 1, xxh3}, {"b", 1, xxh3}};
  CHECK(shown_digest(two, DigestKind::xxh3) == "sha256:" + bytes::to_hex(receipt_list_sha256(two)));
  CHECK(shown_digest({}, DigestKind::xxh3).starts_with("sha256:"));
}

TEST_CASE("transfer tally: bytes that went both ways, in one session or in several, are mixed") {
  const auto by = [](std::uint64_t udp, std::uint64_t tcp) {
    RunStats stats;
    stats.bytes_by_udp = udp;
    stats.bytes_by_tcp = tcp;
    return stats;
  };
  const TransferTally fresh{begun};
  CHECK(fresh.data(by(1, 0), "tcp") == "udp");
  CHECK(fresh.data(by(0, 1), "udp") == "tcp");
  CHECK(fresh.data(by(1, 1), "udp") == "mixed");
  CHECK(fresh.data(by(0, 0), "udp") == "udp");
  CHECK(fresh.data(by(0, 0), "tcp") == "tcp");
  TransferTally second{begun};
  second.on_session_over(by(5, 0));
  CHECK(second.data(by(0, 1), "tcp") == "mixed");
  CHECK(second.data(by(1, 0), "udp") == "udp");
}
