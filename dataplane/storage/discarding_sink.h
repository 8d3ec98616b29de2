#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/storage/executor.h"
#include "dataplane/storage/sink.h"
#include "dataplane/storage/slab_pool.h"

namespace penstock::storage {

/// A sink that keeps nothing: for measuring the network path alone. The manifest is validated and every entry wanted;
/// bytes are opened into the slabs that a real sink would lend, so that receiving costs what it costs, and the slabs go
/// back without a write. No file system is looked at, no digest is made or compared, nothing is durable: whoever uses
/// it must tell the sender so. `SinkTotals::files` and `bytes`, and `SinkProgress::bytes_durable`, count what was
/// thrown away, so that both ends see that the transfer goes on.
/// `workers`: the way to that of each lane, home's first. Memory: slabs of its account, and the manifest's open
/// directories. Threads: all on the worker; see Sink. Held by shared_ptr; the owner calls close() before it lets go,
/// and `observer` is borrowed until then.
[[nodiscard]] std::shared_ptr<Sink> make_discarding_sink(std::uint32_t roots, SlabAccount slabs,
                                                         std::vector<PostToWorker> workers, SinkObserver& observer);

}  // namespace penstock::storage
