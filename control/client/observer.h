#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/time.h"

namespace penstock::control {

/// The two ends know each other: the first news of every command that connects.
struct Connected {
  std::string peer;         // "HOST:PORT" as asked for
  std::string address;      // what it resolved to, "ADDR:PORT"
  std::string software;     // what the daemon calls itself
  std::string user;         // who we are to it
  std::string fingerprint;  // "SHA256:HEX" of the daemon's key
  bool again = false;       // a re-connection of the same command
};

/// The transfer has its id; every JSON line from here on carries it.
struct TransferStarted {
  std::string transfer;   // 32 hex digits, also in the daemon's log
  bool resuming = false;  // something of an earlier run is kept
};

/// Where the transfer stands; one to four times a second, and whenever request_progress() asks.
struct Progress {
  std::uint64_t bytes = 0;                   // that the receiver has or needs not; falls with bytes_total alone
  std::optional<std::uint64_t> bytes_total;  // until the walk is over: unknown
  std::uint64_t files = 0;                   // complete under their names
  std::optional<std::uint64_t> files_total;
  std::uint64_t rate_bps = 0;  // goodput of the last seconds, bit/s
  std::optional<std::uint64_t> eta_s;
  double rtt_ms = 0;
  double loss = 0;                // share of packets, 0-1
  std::string_view limited_by;    // DESIGN section 4
  std::string_view data = "udp";  // udp, tcp or mixed
};

/// File bytes take another way from here on (CLI.md, `--data`).
struct DataTurn {
  std::string_view data;  // udp or tcp
  std::string message;
  bool away_from_udp = false;  // it does not get through, or badly: a warning, UDP_BLOCKED
};

/// One thing was left out, or is worth knowing; the command goes on.
struct Warning {
  Error error;
};

enum class EntryKind : std::uint8_t { regular, directory, symlink, special };
std::string_view to_string(EntryKind kind);

enum class FileAction : std::uint8_t { send, skip, replace, refuse };
std::string_view to_string(FileAction action);

/// One file (or link) is decided and, unless it is a dry run, finished. Only when TransferOptions::report_files asks.
struct FileNews {
  EntryKind kind = EntryKind::regular;  // or symlink
  std::string path;                     // raw bytes; below DEST
  std::uint64_t bytes = 0;
  std::string digest;  // "alg:hex"; empty where nothing was digested (dry run, skipped, links)
  FileAction action = FileAction::send;
};

/// One remote thing, as ls and stat show it.
struct RemoteEntry {
  std::string name;  // raw bytes
  EntryKind kind = EntryKind::regular;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  // 0777
  std::int64_t mtime_ns = 0;
  std::string link_target;
};

/// Hears what a command does. The command's own end, good or bad, is what the call returns.
/// Threads: called on the thread that called the Client, never after the call has returned. Strings are raw: escape
/// what is shown.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_connected(const Connected&) {}
  virtual void on_registered(const std::string& /*uuid*/) {}  // an unregistered host was registered first
  virtual void on_started(const TransferStarted&) {}
  virtual void on_progress(const Progress&) {}
  virtual void on_warning(const Warning&) {}
  virtual void on_data_turn(const DataTurn&) {}
  virtual void on_mark_news(const std::string& /*message*/) {}  // of ECN, on the way of the data
  virtual void on_file(const FileNews&) {}
  virtual void on_entry(const RemoteEntry&) {}
  /// The connection fell silent, or the daemon is busy (SERVER_BUSY); the command tries again by itself. `attempt`
  /// counts from 1.
  virtual void on_reconnecting(const Error& /*cause*/, unsigned /*attempt*/) {}
};

}  // namespace penstock::control
