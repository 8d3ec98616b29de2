#include "tools/output/output.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "tools/output/progress_line.h"
#include "tools/output/quantities.h"
#include "tools/output/summary.h"

namespace penstock::tools {
namespace {

using nlohmann::json;
using Lines = std::vector<json>;

/// An Output whose two streams are pipes, read back at the end. Bound: what a pipe holds.
class Captured {
 public:
  explicit Captured(OutputStyle style) {
    REQUIRE(::pipe2(answers_, O_CLOEXEC | O_NONBLOCK) == 0);
    REQUIRE(::pipe2(messages_, O_CLOEXEC | O_NONBLOCK) == 0);
    style.answers_fd = answers_[1];
    style.messages_fd = messages_[1];
    output_.emplace(std::move(style));
  }
  ~Captured() {
    for (const int fd : {answers_[0], answers_[1], messages_[0], messages_[1]}) ::close(fd);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

  Output* operator->() { return &*output_; }
  std::string answers() { return drain(answers_[0]); }
  std::string messages() { return drain(messages_[0]); }
  Lines lines() {
    Lines out;
    std::istringstream in{answers()};
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }

 private:
  static std::string drain(int fd) {
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out;
  }
  int answers_[2] = {-1, -1};
  int messages_[2] = {-1, -1};
  std::optional<Output> output_;
};

OutputStyle json_style() { return {.json = true}; }
bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

control::Progress progress_at(std::uint64_t bytes, std::optional<std::uint64_t> total) {
  control::Progress out;
  out.bytes = bytes;
  out.bytes_total = total;
  return out;
}

TEST_CASE("output: JSON begins with start and ends with exactly one done") {
  Captured out{json_style()};
  out->start("push", "host:7440");
  out->set_transfer("abc");
  out->progress(progress_at(5, {}), false);
  CHECK(out->done([](JsonLine& line) { line.number("files", 3); }));
  CHECK_FALSE(out->done([](JsonLine&) {}));
  out->error({ErrorCode::INTERNAL, "too late"});
  out->warning({ErrorCode::NOT_FOUND, "too late"});
  const auto lines = out.lines();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0]["event"] == "start");
  CHECK(lines[0]["v"] == 1);
  CHECK(lines[0]["op"] == "push");
  CHECK(lines[0]["peer"] == "host:7440");
  CHECK(lines[0]["version"].is_string());
  CHECK_FALSE(lines[0].contains("transfer"));
  CHECK(lines[1]["event"] == "progress");
  CHECK(lines[1]["transfer"] == "abc");
  CHECK(lines[1]["bytes_total"].is_null());
  CHECK(lines[2]["event"] == "done");
  CHECK(lines[2]["files"] == 3);
}

TEST_CASE("output: an error before anything else still has its start, and comes last") {
  Captured out{json_style()};
  CHECK(out->error({ErrorCode::USAGE, "no"}) == 2);
  const auto lines = out.lines();
  REQUIRE(lines.size() == 2);
  CHECK(lines[0]["event"] == "start");
  CHECK(lines[0]["op"].is_null());
  CHECK(lines[1]["event"] == "error");
  CHECK(lines[1]["code"] == 1201);
  CHECK(lines[1]["name"] == "USAGE");
  CHECK(lines[1]["exit"] == 2);
  CHECK(lines[1]["retryable"] == false);
  CHECK(lines[1]["side"] == "local");
  CHECK(lines[1]["path"].is_null());
}

TEST_CASE("output: an error carries code, side and path; bytes that are no UTF-8 ride along in base64") {
  Captured out{json_style()};
  CHECK(out->error({ErrorCode::FILE_EXISTS, "it exists", "/a\xff", ErrorSide::remote}) == 6);
  const auto error = out.lines().back();
  CHECK(error["code"] == 1607);
  CHECK(error["side"] == "remote");
  CHECK(error["path"] == "/a\xEF\xBF\xBD");
  CHECK(error["path_b64"] == "L2H/");
  CHECK(out.messages() == "penstock: FILE_EXISTS (1607) from the daemon: it exists\n");
}

TEST_CASE("output: a signal decides the exit status, also in the JSON") {
  Captured out{json_style()};
  CHECK(out->error({ErrorCode::INTERRUPTED, "ended"}, 130) == 130);
  CHECK(out.lines().back()["exit"] == 130);
}

TEST_CASE("output: every field of progress and warnings is there under its name") {
  Captured out{json_style()};
  out->start("pull", "h:1");
  out->progress({.bytes = 10,
                 .bytes_total = 100,
                 .files = 1,
                 .files_total = 2,
                 .rate_bps = 490'000'000,
                 .eta_s = 7,
                 .rtt_ms = 12.5,
                 .loss = 0.01,
                 .limited_by = "path",
                 .data = "udp"},
                false);
  out->warning({ErrorCode::SOURCE_CHANGED, "changed", "x"});
  const auto lines = out.lines();
  const json& progress = lines.at(1);
  CHECK(progress["bytes"] == 10);
  CHECK(progress["bytes_total"] == 100);
  CHECK(progress["files"] == 1);
  CHECK(progress["files_total"] == 2);
  CHECK(progress["rate_bps"] == 490'000'000);
  CHECK(progress["eta_s"] == 7);
  CHECK(progress["rtt_ms"] == doctest::Approx(12.5));
  CHECK(progress["loss"] == doctest::Approx(0.01));
  CHECK(progress["limited_by"] == "path");
  CHECK(progress["data"] == "udp");
  CHECK(lines.at(2)["event"] == "warning");
  CHECK(lines.at(2)["name"] == "SOURCE_CHANGED");
  CHECK(lines.at(2)["path"] == "x");
}

TEST_CASE("output: JSON stays one valid line whatever the names hold") {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (const std::string& name :
       {all, std::string{"\"},\n{\"event\":\"done\""}, std::string{"\\\\\""}, std::string{"\xe2\x82"}}) {
    Captured out{json_style()};
    out->start(name, name);
    out->error({ErrorCode::NOT_FOUND, name, name});
    const std::string text = out.answers();
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
    const auto error = json::parse(text.substr(text.find('\n') + 1));
    CHECK(error["event"] == "error");
    const std::string message = out.messages();
    CHECK(std::count(message.begin(), message.end(), '\n') == 1);
    CHECK(message.find('\033') == std::string::npos);
  }
}

TEST_CASE("output: without JSON answers go to one stream, notes and errors to the other") {
  Captured out{{}};
  out->start("ls", "h");
  out->answer("name\n");
  out->note("a note");
  out->detail("a detail");
  out->warning({ErrorCode::NOT_FOUND, "gone"});
  out->done([](JsonLine&) {});
  CHECK(out.answers() == "name\n");
  CHECK(out.messages() == "a note\npenstock: warning: gone\n");
}

TEST_CASE("output: quiet leaves errors alone, verbose adds details") {
  Captured quiet{{.verbosity = Verbosity::quiet}};
  quiet->note("a note");
  quiet->warning({ErrorCode::NOT_FOUND, "gone"});
  quiet->error({ErrorCode::NOT_FOUND, "gone for good"});
  CHECK(quiet.messages() == "penstock: NOT_FOUND (1503): gone for good\n");
  Captured verbose{{.verbosity = Verbosity::verbose}};
  verbose->detail("a detail");
  CHECK(verbose.messages() == "a detail\n");
}

TEST_CASE("output: the progress line is redrawn on a terminal and cleared before anything else") {
  Captured out{{.progress_on_terminal = true}};
  out->progress(progress_at(1, 2), false);
  out->note("a note");
  const std::string text = out.messages();
  CHECK(text.starts_with("\r"));
  CHECK(mentions(text, "\r\033[Ka note\n"));
}

TEST_CASE("output: elsewhere progress is silent, unless somebody asks") {
  Captured out{{}};
  out->progress(progress_at(1, 2), false);
  CHECK(out.messages().empty());
  out->progress(progress_at(1, 2), true);
  CHECK(mentions(out.messages(), "50 %"));
}

TEST_CASE("output: a reader who went away is noticed and harms nobody") {
  int ends[2] = {-1, -1};
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const auto ignored = ::signal(SIGPIPE, SIG_IGN);
  UniqueFd write_end{ends[1]};
  ::close(ends[0]);
  Output out{{.answers_fd = write_end.get()}};
  CHECK_FALSE(out.answers_lost());
  out.answer("anything\n");
  CHECK(out.answers_lost());
  ::signal(SIGPIPE, ignored);
}

TEST_CASE("output: answers that could not be written spoil a good exit status, unless the reader went away") {
  const UniqueFd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  REQUIRE(full.get() >= 0);
  const UniqueFd nowhere{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  Output lost{{.answers_fd = full.get(), .messages_fd = nowhere.get()}};
  lost.answer("x");
  CHECK(lost.conclude(0) == 8);
  CHECK(lost.conclude(5) == 5);
  Output kept{{.answers_fd = nowhere.get(), .messages_fd = nowhere.get()}};
  kept.answer("x");
  CHECK(kept.conclude(0) == 0);

  std::signal(SIGPIPE, SIG_IGN);
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  ::close(pipe[0]);
  const UniqueFd broken{pipe[1]};
  Output piped{{.answers_fd = broken.get(), .messages_fd = nowhere.get()}};
  piped.answer("x");
  CHECK(piped.answers_lost());
  CHECK(piped.conclude(0) == 0);
}

TEST_CASE("output: a sentence for people names the error and keeps its escapes single") {
  CHECK(error_line("penstock", {ErrorCode::NOT_FOUND, "no `a\\nb`"}) == "penstock: NOT_FOUND (1503): no `a\\nb`\n");
  CHECK(error_line("penstock", {ErrorCode::NOT_FOUND, "x\ny\033[2J"}) == "penstock: NOT_FOUND (1503): x\\ny\\x1b[2J\n");
  CHECK(mentions(error_line("penstockd", {ErrorCode::NO_SPACE, ""}), "the target's file system is full"));
}

TEST_CASE("output: times are RFC 3339 in UTC with milliseconds") {
  using std::chrono::milliseconds;
  CHECK(rfc3339(std::chrono::system_clock::time_point{}) == "1970-01-01T00:00:00.000Z");
  CHECK(rfc3339(std::chrono::system_clock::time_point{milliseconds{1'782'898'200'123}}) == "2026-07-01T09:30:00.123Z");
  CHECK(rfc3339(std::chrono::system_clock::time_point{milliseconds{-1}}) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("quantities: two or three digits, rates both ways") {
  CHECK(show_rate(490'000'000) == "61 MB/s (490 Mbit/s)");
  CHECK(show_rate(0) == "0 B/s (0 bit/s)");
  CHECK(show_bytes(0) == "0 B");
  CHECK(show_bytes(999) == "999 B");
  CHECK(show_bytes(1000) == "1.0 kB");
  CHECK(show_bytes(9'949) == "9.9 kB");
  CHECK(show_bytes(9'950) == "10 kB");
  CHECK(show_bytes(999'499) == "999 kB");
  CHECK(show_bytes(999'500) == "1.0 MB");
  CHECK(show_bytes(5'368'709'120) == "5.4 GB");
  CHECK(show_bytes(~std::uint64_t{0}) == "18 EB");
  CHECK(show_seconds(0) == "0s");
  CHECK(show_seconds(59) == "59s");
  CHECK(show_seconds(252) == "4m12s");
  CHECK(show_seconds(3600) == "1h00m");
  CHECK(show_seconds(200'000) == "2d07h");
  CHECK(show_share(0) == "0 %");
  CHECK(show_share(0.0001) == "<0.1 %");
  CHECK(show_share(0.004) == "0.4 %");
  CHECK(show_share(0.2) == "20 %");
}

control::Progress half_way() {
  return {.bytes = 500'000'000,
          .bytes_total = 1'000'000'000,
          .files = 3,
          .files_total = 9,
          .rate_bps = 490'000'000,
          .eta_s = 9,
          .rtt_ms = 1,
          .loss = 0.004,
          .limited_by = "target_disk",
          .data = "udp"};
}

TEST_CASE("progress line: percentage, rate both ways, time left, loss, and what limits") {
  const std::string line = progress_line(half_way(), {.columns = 200});
  for (const auto* part :
       {" 50 %", "61 MB/s (490 Mbit/s)", "ETA 9s", "loss 0.4 %", "limited by target_disk", "3/9 files"})
    CHECK_MESSAGE(mentions(line, part), line);
}

TEST_CASE("progress line: it never grows wider than the terminal, and the percentage stays longest") {
  for (std::size_t columns = 1; columns <= 200; ++columns) {
    const std::string line = progress_line(half_way(), {.columns = columns});
    CHECK(line.size() <= columns);
    if (columns >= 5) CHECK(line.starts_with(" 50 %"));
  }
  CHECK(mentions(progress_line(half_way(), {.columns = 30}), "MB/s"));
  CHECK_FALSE(mentions(progress_line(half_way(), {.columns = 60}), "files"));
}

TEST_CASE("progress line: on 80 columns all that was promised is there; byte counts go first") {
  auto progress = progress_at(111'000'000, 315'000'000);
  progress.rate_bps = 248'000'000;
  progress.eta_s = 6;
  progress.limited_by = "receiver_credit";
  const std::string line = progress_line(progress, {.columns = 79, .colour = false});
  for (const auto* part : {" 35 %", "31 MB/s (248 Mbit/s)", "ETA 6s", "loss", "limited by receiver_credit"})
    CHECK_MESSAGE(mentions(line, part), line);
}

TEST_CASE("progress line: colour adds escapes and nothing else") {
  std::string coloured = progress_line(half_way(), {.columns = 80, .colour = true});
  for (const std::string_view escape : {"\033[1m", "\033[0m"}) {
    const auto at = coloured.find(escape);
    REQUIRE(at != std::string::npos);
    coloured.erase(at, escape.size());
  }
  CHECK(coloured == progress_line(half_way(), {.columns = 80}));
}

TEST_CASE("progress line: 100 % is said only when nothing is missing, and unknown totals show bytes") {
  CHECK(progress_line(progress_at(999'999, 1'000'000), {}).starts_with(" 99 %"));
  CHECK(progress_line(progress_at(1'000'000, 1'000'000), {}).starts_with("100 %"));
  CHECK(progress_line(progress_at(0, 0), {}).starts_with("100 %"));
  CHECK(progress_line(progress_at(7, 5), {}).starts_with("100 %"));
  CHECK(progress_line(progress_at(1'000'000, {}), {}).starts_with("1.0 MB"));
}

TEST_CASE("summary: the last line says what was done, what was not, and where the receipt is") {
  control::TransferSummary summary;
  summary.files = 3;
  summary.bytes = 1'200'000'000;
  summary.goodput_bps = 490'000'000;
  summary.bytes_resumed = 1'000'000;
  summary.files_skipped = 1;
  summary.files_failed = 2;
  summary.packets_sent = 1000;
  summary.packets_lost = 10;
  summary.limited_by = "path";
  summary.receipt = "/home/p/receipts/x.receipt";
  const std::string text = transfer_summary_text("pushed", summary, 9.8);
  for (const auto* part :
       {"pushed 3 files", "1.2 GB", "9.8 s", "61 MB/s (490 Mbit/s)", "1.0 MB resumed", "1 file skipped", "2 left out",
        "loss 1.0 %", "limited by path", "receipt /home/p/receipts/x.receipt"})
    CHECK_MESSAGE(mentions(text, part), text);
}

TEST_CASE("summary: a dry run says what would be sent, skipped and refused") {
  CHECK(dry_run_summary_text("pushed", {.wanted = 3, .wanted_bytes = 1'200'000'000, .skipped = 1, .refused = 2}) ==
        "would have pushed 3 files, 1.2 GB; 1 file skipped; 2 refused");
  CHECK(dry_run_summary_text("pulled", {.wanted = 1}) == "would have pulled 1 file, 0 B");
}

TEST_CASE("summary: sums are written as sha256sum writes them") {
  CHECK(sum_line("ab", "/a b", false) == "ab  /a b\n");
  CHECK(sum_line("ab", "/a\nb", false) == "\\ab  /a\\nb\n");
  CHECK(sum_line("ab", "/a\\b", false) == "\\ab  /a\\\\b\n");
  CHECK(sum_line("ab", "/a\033[2J", true) == "\\ab  /a\\x1b[2J\n");
}

}  // namespace
}  // namespace penstock::tools
