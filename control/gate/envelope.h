#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "control/proto/gate.pb.h"

namespace penstock::control {

/// The one place where a peer's bytes become a message: what came by TCP (framing.h) and what came in the pipe. A test
/// reads the sources and fails where anything else parses, because who links this has also silenced the library, before
/// main: it prints what it does not like on stderr, as often as a stranger likes.
/// nullopt: malformed. An empty Envelope and one whose body is not known are for the caller to judge.
/// Requires: at most message_size_max bytes. Threads: any.
std::optional<proto::Envelope> decode_envelope(std::span<const std::byte> bytes);

}  // namespace penstock::control
