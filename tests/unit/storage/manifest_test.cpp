#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/random.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/manifest_validator.h"
#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {
namespace {

ManifestEntry file(const std::string& path, std::uint64_t size = 1) {
  ManifestEntry entry;
  entry.path = path;
  entry.size = size;
  return entry;
}
ManifestEntry directory(const std::string& path) {
  ManifestEntry entry;
  entry.path = path;
  entry.type = FileType::directory;
  return entry;
}
ManifestEntry link(const std::string& path, const std::string& target = "t") {
  ManifestEntry entry;
  entry.path = path;
  entry.type = FileType::symlink;
  entry.link_target = target;
  return entry;
}

/// How many entries were accepted before the first refusal.
std::size_t accepted(const std::vector<ManifestEntry>& entries, std::uint32_t roots = 1) {
  ManifestValidator validator{roots};
  std::size_t count = 0;
  for (const auto& entry : entries) {
    if (!validator.accept(entry)) break;
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("manifest: component-wise order with parents first is accepted") {
  const std::vector<ManifestEntry> entries{directory(""), directory("a"), file("a/b"),    directory("a/c"),
                                           file("a/c/d"), file("a/e"),    file("a-b"),    file("a.b"),
                                           link("b"),     directory("c"), file("c/\xff"), file("d\n")};
  CHECK(accepted(entries) == entries.size());
}

TEST_CASE("manifest: what would land elsewhere, twice or beneath a link is refused") {
  const auto refused_last = [](std::vector<ManifestEntry> entries) { return accepted(entries) + 1 == entries.size(); };
  CHECK(refused_last({directory(""), file("../x")}));
  CHECK(refused_last({
      directory(""),
      directory(".."),
  }));
  CHECK(refused_last({directory(""), file("/x")}));
  CHECK(refused_last({directory(""), file(".")}));
  CHECK(refused_last({directory(""), file("x/")}));
  CHECK(refused_last({directory(""), directory("a"), file("a//x")}));
  CHECK(refused_last({directory(""), file(std::string("a\0b", 3))}));
  CHECK(refused_last({directory(""), file(std::string(256, 'n'))}));
  CHECK(refused_last({directory(""), file(".penstock-00112233445566778899aabbccddeeff.part")}));
  CHECK(refused_last({directory(""), file("x"), file("x")}));
  CHECK(refused_last({directory(""), file("b"), file("a")}));
  CHECK(refused_last({directory(""), file("a.b"), directory("a")}));
  CHECK(refused_last({directory(""), file("f"), file("f/x")}));
  CHECK(refused_last({directory(""), link("l"), file("l/x")}));
  CHECK(refused_last({directory(""), file("missing/x")}));
  CHECK(refused_last({directory(""), directory("a"), file("b"), file("a/x")}));
  CHECK(refused_last({file(""), file("x")}));
  CHECK(refused_last({link(""), file("x")}));
  CHECK(refused_last({file("x")}));
  CHECK(refused_last({directory(""), directory("")}));
}

TEST_CASE("manifest: roots ascend, and none is beyond those asked for") {
  auto second = file("");
  second.root = 1;
  CHECK(accepted({file(""), second}, 2) == 2);
  CHECK(accepted({file(""), second}, 1) == 1);
  CHECK(accepted({second, file("")}, 2) == 1);
  CHECK(accepted({second, second}, 2) == 1);
}

TEST_CASE("manifest: sizes, sums, holes and link targets are bounded") {
  CHECK(accepted({file("", transfer_space_max)}) == 1);
  CHECK(accepted({file("", transfer_space_max + 1)}) == 0);
  CHECK(accepted({directory(""), file("a", transfer_space_max), file("b", 1)}) == 2);
  CHECK(accepted({directory(""), file("a", transfer_space_max), file("b", 0)}) == 3);
  const auto with_holes = [](std::vector<Hole> holes) {
    auto entry = file("", 100);
    entry.holes = std::move(holes);
    return accepted({entry}) == 1;
  };
  CHECK(with_holes({{0, 100}}));
  CHECK(with_holes({{0, 10}, {10, 5}, {50, 50}}));
  CHECK(!with_holes({{0, 101}}));
  CHECK(!with_holes({{101, 1}}));
  CHECK(!with_holes({{~std::uint64_t{0}, 2}}));
  CHECK(!with_holes({{5, ~std::uint64_t{0}}}));
  CHECK(!with_holes({{10, 10}, {5, 1}}));
  CHECK(!with_holes({{10, 10}, {19, 1}}));
  CHECK(!with_holes({{10, 0}}));
  CHECK(!with_holes(std::vector<Hole>(holes_max + 1, Hole{0, 1})));
  CHECK(accepted({link("", std::string(link_target_size_max, 'x'))}) == 1);
  CHECK(accepted({link("", std::string(link_target_size_max + 1, 'x'))}) == 0);
  CHECK(accepted({link("", "")}) == 0);
  CHECK(accepted({link("", std::string("a\0b", 3))}) == 0);
  auto directory_with_size = directory("");
  directory_with_size.size = 1;
  CHECK(accepted({directory_with_size}) == 0);
  auto file_with_target = file("");
  file_with_target.link_target = std::string(1, 'x');
  CHECK(accepted({file_with_target}) == 0);
  auto special = file("");
  special.type = FileType::special;
  CHECK(accepted({special}) == 0);
}

TEST_CASE("manifest: its end must agree with what came") {
  ManifestValidator validator{1};
  CHECK(!validator.finish(0, 0).ok());
  REQUIRE(validator.accept(directory("")).ok());
  REQUIRE(validator.accept(file("a", 7)).ok());
  CHECK(validator.finish(2, 7).ok());
  CHECK(!validator.finish(3, 7).ok());
  CHECK(!validator.finish(2, 8).ok());
  ManifestValidator two_roots{2};
  REQUIRE(two_roots.accept(file("", 7)).ok());
  CHECK(!two_roots.finish(1, 7).ok());
}

TEST_CASE("manifest: a root is missing only where the source has said that it left something out") {
  auto last = file("", 7);
  last.root = 2;
  ManifestValidator silent{3};
  REQUIRE(silent.accept(last).ok());
  CHECK(!silent.finish(1, 7).ok());
  ManifestValidator said{3};
  said.allow_missing_roots();
  CHECK(!said.finish(0, 0).ok());
  REQUIRE(said.accept(last).ok());
  CHECK(said.finish(1, 7).ok());
  auto earlier = file("", 7);
  earlier.root = 1;
  CHECK(!said.accept(earlier).ok());
  CHECK(!said.accept(last).ok());
}

TEST_CASE("manifest: any sorted random tree is accepted, and any swap of neighbours refused") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("replay with seed ", seed);
    Rng rng{seed};
    std::vector<ManifestEntry> entries{directory("")};
    const std::function<void(const std::string&, int)> grow = [&](const std::string& above, int depth) {
      const std::string names = "!-.09AZaz\x7f\xff";
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (!rng.chance(1, 2)) continue;
        std::string path = above;
        if (!path.empty()) path.push_back('/');
        path.push_back(names[i]);
        if (names[i] == '.') path.push_back('_');
        if (depth < 3 && rng.chance(1, 3)) {
          entries.push_back(directory(path));
          grow(path, depth + 1);
        } else {
          entries.push_back(file(path, rng.below(10)));
        }
      }
    };
    grow("", 0);
    REQUIRE(accepted(entries) == entries.size());
    for (std::size_t i = 1; i + 1 < entries.size(); ++i) {
      auto swapped = entries;
      std::swap(swapped[i], swapped[i + 1]);
      CHECK(accepted(swapped) < swapped.size());
    }
  }
}

TEST_CASE("manifest store: entries and places come back from memory and from the spill file alike") {
  const ScratchDirectory scratch;
  const auto spill = scratch.open();
  for (const int where : {-1, spill.get()}) {
    ManifestStore store{where};
    Rng rng{7};
    std::vector<ManifestEntry> entries;
    for (int i = 0; i < 5000; ++i) {
      auto entry = rng.chance(1, 5)    ? directory(std::to_string(i).append("d"))
                   : rng.chance(1, 10) ? link(std::to_string(i).append("l"), "somewhere")
                                       : file(std::to_string(i).append("f"), rng.chance(1, 4) ? 0 : rng.below(100'000));
      entry.mtime_ns = -static_cast<std::int64_t>(rng.below(1'000'000));
      entry.mode = 0644;
      if (entry.size > 100) entry.holes = {{10, 20}, {50, 5}};
      entries.push_back(entry);
      REQUIRE(store.append(entry).ok());
    }
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      auto got = store.get(i);
      REQUIRE(got.ok());
      CHECK(**got == entries[i]);
      CHECK(*store.offset_of(i) == offset);
      if (entries[i].size > 0) {
        for (const std::uint64_t inside : {std::uint64_t{0}, entries[i].size - 1}) {
          const auto place = store.locate(offset + inside);
          REQUIRE(place.ok());
          CHECK(place->index == i);
          CHECK(place->file_offset == inside);
          CHECK(place->bytes_left == entries[i].size - inside);
        }
      }
      offset += entries[i].size;
    }
    CHECK(store.bytes() == offset);
    CHECK(store.entries() == entries.size());
  }
  CHECK(std::filesystem::is_empty(scratch.path()));
}

}  // namespace penstock::storage::test
