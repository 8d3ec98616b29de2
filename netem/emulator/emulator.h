#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"
#include "netem/emulator/command_lines.h"
#include "netem/emulator/emulator_config.h"
#include "netem/emulator/hub.h"
#include "netem/emulator/lateness_histogram.h"
#include "netem/emulator/tun_device.h"

namespace penstock::netem {

/// The hub between TUN devices, in real time, told what to do by lines on stdin and answering in JSON on stdout
/// (README.md). Threads: one, plus one that opens a device and ends. Time: CLOCK_MONOTONIC. Bounds: those of the hub.
class Emulator {
 public:
  /// Makes the devices. The caller has blocked SIGTERM and SIGINT. Errors say what is missing.
  static Result<std::unique_ptr<Emulator>> open(EmulatorConfig config);

  /// Says `ready`, then carries packets until stdin ends, SIGTERM or SIGINT; says `end`.
  Status run();

 private:
  /// One host as the loop sees it.
  struct Port {
    std::string name;
    std::string device_name;
    TunDevice device;
    std::uint64_t read_packets = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t written_packets = 0;
    std::uint64_t written_bytes = 0;
    std::uint64_t unrouted = 0;
    std::uint64_t write_failures = 0;
  };

  Emulator(EmulatorConfig config, std::vector<Port> ports);
  Status set_up();
  Status wait_and_serve();
  Status read_port(HostIndex host);
  void release_due();
  void apply_changes(TimePoint now);
  Status change_leg(const LegChange& change, Direction direction);
  void handle_stdin();
  void obey(std::string_view line);
  void obey_set(std::string_view arguments);
  Duration time_to_sleep(TimePoint now) const;
  std::string ready_line() const;
  std::string counters_line(std::string_view event);

  EmulatorConfig config_;
  std::vector<Port> ports_;
  Hub hub_;
  LatenessHistogram lateness_;
  std::uint64_t late_releases_ = 0;
  CommandLines commands_;
  UniqueFd epoll_;
  UniqueFd signals_;
  bool is_realtime_ = false;
  bool stopping_ = false;
  TimePoint ready_at_{};
  TimePoint released_at_{};  // the latest release
  std::optional<TimePoint> started_at_;
  std::size_t changes_done_ = 0;
};

}  // namespace penstock::netem
