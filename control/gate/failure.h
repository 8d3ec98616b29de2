#pragma once

#include <cstddef>

#include "common/result.h"
#include "control/proto/gate.pb.h"

namespace penstock::control {

inline constexpr std::size_t failure_message_max = 1024;                 // bytes of a message read or sent
inline constexpr std::size_t failure_path_max = std::size_t{64} * 1024;  // a longer path is cut: it only names

/// The Envelope that tells a peer of `error`: code, message, path.
proto::Envelope failure_envelope(const Error& error);
void fill_failure(proto::Failure& failure, const Error& error);

/// What a peer said: side is remote, a code that we do not know becomes INTERNAL, the message is made safe to show.
Error error_of_failure(const proto::Failure& failure);

}  // namespace penstock::control
