// A journal that a crash, a bad disk or someone else wrote: replay must stay within the bytes, and what it says is
// whole must be what encoding its records gives again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "dataplane/storage/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::storage;
  const std::span bytes{reinterpret_cast<const std::byte*>(data), size};
  const auto replay = replay_journal(bytes);
  if (!replay) return 0;
  PENSTOCK_CHECK(replay->valid_bytes <= size && replay->state.records > 0);
  // Cutting the tail changes nothing that came before it.
  const auto again = replay_journal(bytes.first(static_cast<std::size_t>(replay->valid_bytes)));
  PENSTOCK_CHECK(again && again->valid_bytes == replay->valid_bytes && again->state.records == replay->state.records);
  for (const auto& [path, file] : replay->state.files) {
    if (!file.partial) {
      PENSTOCK_CHECK(file.durable.empty());
      continue;
    }
    for (const auto& [block, digest] : file.durable) PENSTOCK_CHECK(block < block_count(file.partial->size));
  }
  return 0;
}
