#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "control/transfer/sink_side.h"
#include "control/transfer/source_side.h"

namespace penstock::control::test {

/// Writes down what a side says.
class FakeHost final : public SideHost {
 public:
  void send(proto::Envelope envelope) override { sent.push_back(std::move(envelope)); }
  [[nodiscard]] bool has_room() const override { return room; }
  void warn(Error warning) override { warnings.push_back(std::move(warning)); }
  void on_entry(const storage::FileReport& report, storage::FileType type, EntryOutcome outcome) override {
    entries.emplace_back(report.path, outcome);
    types.push_back(type);
  }
  void on_committed() override { ++committed; }
  void on_failed(Error error) override { failures.push_back(std::move(error)); }

  /// Messages of one kind since the last call, in order; others stay.
  std::vector<proto::Envelope> take(proto::Envelope::BodyCase kind) {
    std::vector<proto::Envelope> taken;
    std::erase_if(sent, [&](const proto::Envelope& envelope) {
      if (envelope.body_case() != kind) return false;
      taken.push_back(envelope);
      return true;
    });
    return taken;
  }

  std::vector<proto::Envelope> sent;
  bool room = true;
  std::vector<Error> warnings;
  std::vector<std::pair<std::string, EntryOutcome>> entries;
  std::vector<storage::FileType> types;  // of entries
  int committed = 0;
  std::vector<Error> failures;
};

class FakeSenderLane final : public SenderLane {
 public:
  void offer(TransferOffset end) override { offered = end.value; }
  void finish(TransferOffset end) override { finished = end.value; }
  void withhold(TransferRange range) override { withheld.push_back(range); }
  void resend(TransferRange range) override { resent.push_back(range); }
  void on_source_ready() override { ++ready; }
  std::uint64_t offered = 0;
  std::optional<std::uint64_t> finished;
  std::vector<TransferRange> withheld;
  std::vector<TransferRange> resent;
  int ready = 0;
};

class FakeReceiverLane final : public ReceiverLane {
 public:
  void expect(TransferOffset end) override { expected = end.value; }
  void finish(TransferOffset end) override { finished = end.value; }
  void withhold(TransferRange range) override { withheld.push_back(range); }
  void forget(TransferRange range) override { forgotten.push_back(range); }
  void on_sink_room() override { ++room; }
  std::uint64_t expected = 0;
  std::optional<std::uint64_t> finished;
  std::vector<TransferRange> withheld;
  std::vector<TransferRange> forgotten;
  int room = 0;
};

/// Remembers what it was asked; the test answers by calling the side.
class FakeReader final : public storage::SourceReader {
 public:
  struct Release {
    std::uint64_t decided;
    std::vector<storage::Verdict> exceptions;
  };
  void request_entries(std::size_t) override { ++requests; }
  void release(std::uint64_t decided, std::vector<storage::Verdict> exceptions) override {
    releases.push_back({decided, std::move(exceptions)});
  }
  void resend(std::vector<storage::EntryBlocks> blocks) override { resends.push_back(std::move(blocks)); }
  void abandon(std::uint64_t index) override { abandoned.push_back(index); }
  void close() override { closed = true; }
  [[nodiscard]] storage::SourceReaderStats stats() const override { return {}; }
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset, std::size_t) override { return {}; }
  void prefetch(TransferRange) override {}
  void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

  int requests = 0;
  std::deque<Release> releases;
  std::vector<std::vector<storage::EntryBlocks>> resends;
  std::vector<std::uint64_t> abandoned;
  bool closed = false;
};

class FakeSink final : public storage::Sink {
 public:
  [[nodiscard]] engine::SinkWindow& window() override { std::abort(); }  // no lane here asks for it
  void on_entries(std::uint64_t first_index, std::vector<storage::ManifestEntry> entries) override {
    first_indices.push_back(first_index);
    for (auto& entry : entries) received.push_back(std::move(entry));
  }
  void on_manifest_end(std::uint64_t, std::uint64_t bytes) override { manifest_bytes = bytes; }
  void on_digests(storage::DigestRun run) override { digests.push_back(std::move(run)); }
  void fail_entry(std::uint64_t index, Error) override { failed.push_back(index); }
  void audit() override { ++audits; }
  void commit() override { ++commits; }
  void checkpoint(std::function<void()> done) override {
    ++checkpoints;
    done();
  }
  void close() override { closed = true; }
  [[nodiscard]] storage::SinkProgress progress() const override { return {}; }

  std::vector<std::uint64_t> first_indices;
  std::vector<storage::ManifestEntry> received;
  std::optional<std::uint64_t> manifest_bytes;
  std::vector<storage::DigestRun> digests;
  std::vector<std::uint64_t> failed;
  int audits = 0;
  int commits = 0;
  int checkpoints = 0;
  bool closed = false;
};

inline storage::ManifestEntry file_entry(std::string path, std::uint64_t size) {
  storage::ManifestEntry entry;
  entry.path = std::move(path);
  entry.size = size;
  entry.mode = 0644;
  return entry;
}

}  // namespace penstock::control::test
