// A journal that a crash, a bad disk or someone else wrote: replay must stay within the bytes, and what it says is
// whole must be what encoding its records gives again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/check.h"
#include "dataplane/storage/journal_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::storage;
  const std::span bytes{reinterpret_cast<const std::byte*>(data), size};
  const auto read = [](std::span<const std::byte> journal) {
    auto index = JournalIndex::build(bytes_in_memory(journal), -1);
    PENSTOCK_CHECK(index.ok());
    return std::move(*index);
  };
  const auto index = read(bytes);
  if (!index) return 0;
  PENSTOCK_CHECK(index->valid_bytes() <= size && index->records() > 0);
  // Cutting the tail changes nothing that came before it.
  const auto again = read(bytes.first(static_cast<std::size_t>(index->valid_bytes())));
  PENSTOCK_CHECK(again && again->valid_bytes() == index->valid_bytes() && again->records() == index->records());
  const auto checked = index->for_each_left([&](const std::string& path, const JournalFile& file) {
    const auto found = again->find(path);
    PENSTOCK_CHECK(found.ok() && *found);
    if (!file.partial) PENSTOCK_CHECK(file.durable.empty());
    for (const auto& [block, digest] : file.durable) PENSTOCK_CHECK(block < block_count(file.partial->size));
  });
  PENSTOCK_CHECK(checked.ok());
  return 0;
}
