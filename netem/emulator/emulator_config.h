#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "netem/emulator/hub.h"
#include "netem/emulator/tun_device.h"
#include "netem/link_words.h"

namespace penstock::netem {

enum class Scheduling : std::uint8_t {
  automatic,  // real time where it is permitted
  normal,
  realtime,
};

struct HostConfig {
  std::string name;
  TunConfig device;
};

/// `A up`, `A down`, `A both`: which links a word is about.
struct LegTarget {
  HostIndex host = 0;
  std::vector<Direction> directions;
};
std::string_view name_of(Direction direction);

/// What becomes of one leg, and when after the start.
struct LegChange {
  LegTarget target;
  Duration after{0};
  LinkWords words;
  std::string text;  // the words as they were written
};

/// The words of the command line, as they came.
struct EmulatorWords {
  std::vector<std::string> hosts;
  std::vector<std::string> legs;
  std::vector<std::string> changes;
  std::string reach = "kernel";
  std::string memory = "256MiB";
  std::string scheduling = "auto";
  std::uint32_t mtu = 1500;
  std::uint32_t tun_queue = 32768;
  std::uint64_t seed = 1;
};

/// What they mean. All hosts share MTU and queue length.
struct EmulatorConfig {
  std::vector<HostConfig> hosts;
  HubConfig hub;
  std::vector<LegChange> changes;  // in order of time; of equal times, as written
  Scheduling scheduling = Scheduling::automatic;
};

/// Checks everything that can be known without the machine, changes against the leg as it will be. Errors are USAGE and
/// name the option and the word.
Result<EmulatorConfig> read_emulator_config(const EmulatorWords& words);

/// `A up loss=5%,delay=80ms`: the arguments of the line `set` on stdin. The words are not yet checked against the leg.
Result<LegChange> parse_set(std::string_view text, const std::vector<HostConfig>& hosts);

}  // namespace penstock::netem
