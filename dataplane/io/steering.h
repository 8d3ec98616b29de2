#pragma once

#include <cstddef>
#include <cstdint>

#include "common/result.h"
#include "common/units.h"

namespace penstock::io {

// How a datagram finds the worker that has its lane, when several sockets share one port: the first byte of the
// connection id, modulo the number of workers. A hint for the kernel, never what correctness rests on.

/// Which worker's socket the kernel is asked to choose for datagrams with this id. Requires: 1 <= workers <= 256.
[[nodiscard]] std::size_t worker_named_by(ConnectionId id, std::size_t workers);

/// `random` with as little of it changed as makes it name `worker`: at least 60 of its 64 bits stay as random as they
/// were, for 16 workers. Requires: worker < workers <= 256.
[[nodiscard]] ConnectionId id_naming(std::size_t worker, std::size_t workers, std::uint64_t random);

/// Attaches the program to the SO_REUSEPORT group of `fd`, for all its sockets. Error: IO_ERROR, the kernel will not;
/// then it picks by a hash of the addresses.
Status attach_steering(int fd, std::size_t workers);

}  // namespace penstock::io
