#pragma once

#include <cstddef>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"
#include "netem/udp_relay/socket_address.h"

namespace penstock::netem::probe {

/// A UDP socket with buffers as large as the kernel allows.
Result<UniqueFd> open_udp(int family);
/// IP and UDP headers before the payload.
inline std::size_t header_bytes(int family) { return family == AF_INET ? 28 : 48; }
/// "cannot WHAT: REASON", the reason from errno.
Error failed(std::string_view what);

}  // namespace penstock::netem::probe
