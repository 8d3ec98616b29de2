#pragma once

#include <string>

#include "netem/link_model.h"

namespace penstock::netem {

/// The counters as one JSON object, its fields named as in LinkCounters: the same for the relay and the emulator.
std::string to_json(const LinkCounters& counters);

}  // namespace penstock::netem
