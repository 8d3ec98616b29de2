#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"
#include "control/client/observer.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::control {

inline constexpr std::uint16_t default_port = 7440;

/// Whom to talk to, and as whom.
struct ClientConfig {
  std::filesystem::path home;  // client_home_path(): registrations, journals, receipts
  std::string user;            // NAME@: picks among own registrations; empty: any
  std::string host;            // name, IPv4 or IPv6 with its %zone, without brackets
  std::uint16_t port = default_port;
  Duration connect_timeout = std::chrono::seconds{15};
  std::optional<Duration> timeout = std::chrono::minutes{5};  // no byte made durable for so long; nullopt: for ever
  std::optional<std::string> token;                           // $PENSTOCK_TOKEN: registers an unregistered host first
  std::optional<std::string> fingerprint;                     // "SHA256:HEX": the daemon's key must be this one
  std::optional<std::filesystem::path> ca_file;               // vouches for a host without a pin
  std::string client_name;                                    // for the operator's list; empty: the host's name
  bool udp_offload = true;                                    // false: neither GSO nor GRO, as on a kernel without
};

enum class OverwriteMode : std::uint8_t { never, skip, changed, always };
enum class DigestKind : std::uint8_t { xxh3, sha256 };
enum class LinkMode : std::uint8_t { keep, follow, skip };
enum class CongestionKind : std::uint8_t { bbr, cubic, fixed, scavenger };
[[nodiscard]] constexpr std::string_view to_string(CongestionKind kind) {
  switch (kind) {
    case CongestionKind::cubic:
      return "cubic";
    case CongestionKind::fixed:
      return "fixed";
    case CongestionKind::scavenger:
      return "scavenger";
    case CongestionKind::bbr:
      break;
  }
  return "bbr";
}

/// How file bytes travel. `automatic`: by UDP, by TCP while that does not get through.
enum class DataKind : std::uint8_t { automatic, udp, tcp };

struct TransferOptions {
  DataKind data = DataKind::automatic;
  CongestionKind congestion = CongestionKind::bbr;
  std::optional<DataRate> rate;  // needed by `fixed`, else a cap
  engine::Fec fec = {.mode = engine::FecMode::automatic};
  std::size_t lanes = 1;  // at most, each with a worker here; the daemon has so many as it has workers
  DigestKind digest = DigestKind::xxh3;
  OverwriteMode overwrite = OverwriteMode::never;
  LinkMode links = LinkMode::keep;
  bool resume = true;
  bool dry_run = false;
  bool report_files = false;         // on_file for each; dry_run implies it
  std::optional<std::uint16_t> mtu;  // IP bytes; nullopt: the interface's
  bool shuffle_chunks = false;       // a test of the far end's assembly
};

/// One SRC word, as tools' landing rules read it.
struct SourceWord {
  std::string path;       // push: local path; pull: absolute remote path
  std::string last_name;  // under which it lands inside a container
  bool contents = false;  // SRC/.
};

struct TransferWords {
  std::vector<SourceWord> sources;
  std::string destination;  // push: absolute remote path; pull: local path; no trailing slash
  bool container = false;   // DEST ended in `/`, `.` or `..`
};

/// The numbers of `done` (CLI.md section 4). bytes = bytes_sent + bytes_resumed + bytes_skipped.
struct TransferSummary {
  std::string transfer;  // 32 hex digits
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_resumed = 0;
  std::uint64_t bytes_skipped = 0;
  std::uint64_t files_skipped = 0;
  std::uint64_t files_failed = 0;  // a warning was given for each
  double seconds = 0;              // of the call
  std::uint64_t goodput_bps = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t bytes_retransmitted = 0;
  std::uint64_t fec_recovered = 0;
  double rtt_ms = 0;
  std::optional<double> tail_ms;  // from the last new byte's departure until the source knew that all had arrived
  std::string data = "udp";
  std::string limited_by;
  std::string digest;             // "alg:hex": of the file, or of the receipt's list when there are several
  std::filesystem::path receipt;  // empty for a dry run, and for what was discarded
  bool discarded = false;         // the daemon is a benchmark and stored nothing; `partial` then says so
  // Let go of it once the user has been told: until then a killed process counts as one that never knew the end, and
  // the same command again resumes to a receipt. Letting go ends the session with the daemon, within seconds; on the
  // thread that made the call, while its observer lives.
  std::shared_ptr<const void> until_told;
  std::optional<Error> partial;  // PARTIAL when something was left out: exit 10, though all else is complete
};

struct Registration {
  std::string uuid;
  std::string user;
  std::string fingerprint;
  std::vector<std::string> grants;
};

struct DigestAnswer {
  std::string sha256;  // 64 hex digits
  std::uint64_t size = 0;
};

struct PingAnswer {
  double control_rtt_ms = 0;
  bool udp_reachable = false;
  std::optional<double> udp_rtt_ms;           // the shortest
  std::optional<double> udp_rtt_smoothed_ms;  // under a moderate load, where one was measured with
  std::optional<std::uint16_t> path_mtu;      // IP bytes that the path is known to carry
  std::optional<std::uint64_t> rate_bps;      // bits of IP packets a second that arrive at the daemon
  std::optional<double> loss;                 // share of the packets sent at well below that rate
  std::uint64_t loss_packets = 0;             // on which it rests
  std::string ecn;                            // "usable", or what keeps marks from use: session/mark_watch.h; or empty
  std::string ecn_reason;                     // the latter, for people
  std::string unmeasured;                     // why there is no rate or no loss; empty when there are both
  std::string aead;                           // chosen suite and backend, "aes-256-gcm (ipsec-mb)"
  std::vector<std::string> fast_paths;        // at our end: control/session/fast_path_words.h
  std::vector<std::string> fast_paths_there;  // the daemon's, as it says; escaped
  std::string hint;                           // what would make our end faster; or empty
  std::string software;
};

/// The client's end of every command. Each call connects, proves, does one thing and closes; it blocks until that is
/// done, runs its own event loop meanwhile, and calls the observer from this thread.
/// Errors: as CLI.md section 5; `side` says whose they are. After an interrupted transfer the same call resumes.
/// Threads: one call at a time; request_stop and request_progress may come from any thread (not from a signal handler).
class Client {
 public:
  /// `observer` is borrowed for the life of the client.
  Client(ClientConfig config, Observer& observer);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// `token`: "pt1_...". TOKEN_REFUSED when it is wrong, used, expired or for another daemon.
  Result<Registration> register_client(const std::string& token);

  Result<TransferSummary> push(const TransferWords& words, const TransferOptions& options);
  Result<TransferSummary> pull(const TransferWords& words, const TransferOptions& options);

  /// Entries come through Observer::on_entry, ascending by name. A file is listed as itself.
  Status list(const std::string& path);
  Result<RemoteEntry> stat(const std::string& path);
  Status mkdir(const std::string& path, bool parents);
  Status rename(const std::string& from, const std::string& to);
  Status remove(const std::string& path, bool recursive);
  Result<DigestAnswer> digest(const std::string& path);
  Result<PingAnswer> ping();

  /// First: journal synced, peer told, the call returns INTERRUPTED within 2 s. Second: it returns at once.
  /// `signal` is named in the message. A stop before a call ends that call.
  void request_stop(int signal);
  /// One on_progress soon (SIGUSR1).
  void request_progress();

 private:
  struct Impl;
  struct Transferring;
  std::shared_ptr<Impl> impl_;  // shared with summaries whose user has not been told yet
};

}  // namespace penstock::control
