#pragma once

#include <atomic>

#include "control/client/observer.h"
#include "tools/output/output.h"

namespace penstock::tools {

/// Turns the client's news into lines: JSON events, the progress line, warnings, listings.
/// Threads: as Observer; ask_for_progress from any.
class ReportingObserver final : public control::Observer {
 public:
  struct Listing {
    std::string directory;  // remote path that entries are in
    bool long_format = false;
  };

  /// `output` is borrowed.
  explicit ReportingObserver(Output& output) : output_(output) {}
  void set_listing(Listing listing) { listing_ = std::move(listing); }
  /// The next progress is shown even where there is no terminal (USR1).
  void ask_for_progress() { asked_ = true; }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  /// What on_file told of regular files: a dry run's whole answer.
  struct FileCounts {
    std::uint64_t wanted = 0;  // send and replace
    std::uint64_t wanted_bytes = 0;
    std::uint64_t skipped = 0;
    std::uint64_t skipped_bytes = 0;
    std::uint64_t refused = 0;
  };
  [[nodiscard]] const FileCounts& files() const { return files_; }

  void on_connected(const control::Connected& connected) override;
  void on_registered(const std::string& uuid) override;
  void on_started(const control::TransferStarted& started) override;
  void on_progress(const control::Progress& progress) override;
  void on_warning(const control::Warning& warning) override;
  void on_data_turn(const control::DataTurn& turn) override;
  void on_mark_news(const std::string& message) override;
  void on_file(const control::FileNews& file) override;
  void on_entry(const control::RemoteEntry& entry) override;
  void on_reconnecting(const Error& cause, unsigned attempt) override;

 private:
  void count(const control::FileNews& file);
  Output& output_;
  Listing listing_;
  std::atomic<bool> asked_ = false;
  std::uint64_t entries_ = 0;
  FileCounts files_;
};

/// One line of `ls -l`, or of `ls`, with its newline. `escape`: for a terminal.
std::string listing_line(const control::RemoteEntry& entry, bool long_format, bool escape);
/// The lines of `stat`.
std::string stat_text(const control::RemoteEntry& entry, const std::string& path, bool escape);
/// The fields of an entry: name, path, type, size, mode, mtime, link_target.
void add_entry_fields(JsonLine& line, const control::RemoteEntry& entry, const std::string& path);

}  // namespace penstock::tools
