// A peer's manifest: whatever the entries, those accepted have checked components, ascend strictly, lie beneath a
// directory that came before, and sum up within transfer space.
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"
#include "common/check.h"
#include "common/path/safe_path.h"
#include "common/units.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/manifest_validator.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  using namespace penstock::storage;
  bytes::WireReader in{std::span{reinterpret_cast<const std::byte*>(data), size}};
  ManifestValidator validator{3};
  ManifestStore store{-1};
  std::set<std::pair<std::uint32_t, std::string>> directories;
  std::string last;
  std::uint32_t last_root = 0;
  while (in.ok() && in.remaining() > 0) {
    ManifestEntry entry;
    entry.root = in.u8() % 4;
    entry.type = static_cast<FileType>(in.u8() % 6);
    entry.path = std::string{bytes::as_text(in.bytes(in.u8() % 16))};
    entry.link_target = std::string{bytes::as_text(in.bytes(in.u8() % 4))};
    entry.size = in.u8() < 250 ? in.u8() : in.u64();
    for (int holes = in.u8() % 4; holes > 0 && entry.type == FileType::regular; --holes) {
      const std::uint64_t offset = in.u8();
      entry.holes.push_back({offset, in.u8() < 250 ? in.u8() : in.u64()});
    }
    if (!in.ok()) break;
    if (!validator.accept(entry)) continue;
    const auto path = path::SafePath::parse_relative(entry.path);
    PENSTOCK_CHECK(path.ok());
    if (path->is_root()) {
      // A root that the source could not send is missing.
      PENSTOCK_CHECK(store.entries() == 0 || entry.root > last_root);
    } else {
      PENSTOCK_CHECK(entry.root == last_root && path::compare_paths(last, entry.path) < 0);
      PENSTOCK_CHECK(directories.contains({entry.root, path->parent().text()}));
    }
    if (entry.type == FileType::directory) directories.emplace(entry.root, entry.path);
    last = entry.path;
    last_root = entry.root;
    const std::uint64_t begin = store.bytes();
    PENSTOCK_CHECK(store.append(entry).ok());
    PENSTOCK_CHECK(store.bytes() == validator.bytes() && store.bytes() <= transfer_space_max);
    if (entry.size > 0) {
      const auto place = store.locate(begin);
      PENSTOCK_CHECK(place.ok() && place->index + 1 == store.entries() && place->bytes_left == entry.size);
    }
  }
  return 0;
}
