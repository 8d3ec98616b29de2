#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dataplane/storage/source_reader.h"

namespace penstock::storage::test {

/// A sender's place in front of a reader of one file: releases it at once, and notes what it hears.
class SingleFileObserver final : public SourceObserver {
 public:
  void on_entries(std::uint64_t, std::vector<ManifestEntry>, std::vector<SourceWarning>, std::uint64_t, bool) override {
    reader->release(1, {});
  }
  void on_source_failed(const Error&) override {}
  void on_released(TransferOffset, std::vector<TransferRange>) override { ++told_released; }
  void on_resend(std::vector<TransferRange>) override {}
  void on_resident() override { ++told_resident; }
  void on_digests(DigestRun) override {}
  void on_file_read(FileReport report) override { reports.push_back(std::move(report)); }
  void on_file_failed(std::uint64_t, TransferRange range, const Error& error) override {
    failed = error;
    failed_range = range;
  }
  void on_all_read() override { all_read = true; }

  std::shared_ptr<SourceReader> reader;
  std::optional<Error> failed;
  TransferRange failed_range{};
  std::vector<FileReport> reports;
  bool all_read = false;
  int told_resident = 0;
  int told_released = 0;
};

}  // namespace penstock::storage::test
