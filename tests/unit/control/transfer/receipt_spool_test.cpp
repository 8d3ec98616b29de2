#include "control/transfer/receipt_spool.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/bytes/view.h"
#include "common/digest/xxh3.h"
#include "common/random.h"
#include "control/transfer/resume_key.h"

using namespace penstock;
using namespace penstock::control;

namespace {

storage::FileReport report(std::uint32_t root, std::string path, std::uint64_t index = 0) {
  return {
      .index = index, .root = root, .path = std::move(path), .target_path = {}, .size = 1, .digest = digest::Xxh3{}};
}
std::vector<std::string> paths(const std::vector<storage::FileReport>& reports, const LandingNames& landing,
                               const std::set<std::uint64_t>& left_out = {}) {
  ReceiptSpool spool{-1, landing};
  for (const auto& each : reports) REQUIRE(spool.keep(each).ok());
  auto lines = spool.lines(landing.landed_as, left_out);
  REQUIRE(lines.ok());
  std::vector<std::string> found;
  for (const auto& line : *lines) found.push_back(line.path);
  return found;
}

}  // namespace

TEST_CASE("receipt spool: paths are relative to where the transfer landed, sorted by their bytes") {
  const std::vector<storage::FileReport> tree{report(0, "sub/x"), report(0, "sub.b"), report(0, "a"), report(0, "sub")};
  CHECK(paths(tree, {.container = false, .roots = {{"tree"}}, .landed_as = {}}) ==
        std::vector<std::string>{"a", "sub", "sub.b", "sub/x"});
  CHECK(paths(tree, {.container = true, .roots = {{"tree"}}, .landed_as = {}}) ==
        std::vector<std::string>{"tree/a", "tree/sub", "tree/sub.b", "tree/sub/x"});
  CHECK(paths(tree, {.container = true, .roots = {{"tree", true}}, .landed_as = {}}) ==
        std::vector<std::string>{"a", "sub", "sub.b", "sub/x"});
}

TEST_CASE("receipt spool: a single file is listed under the name that it landed as") {
  const std::vector<storage::FileReport> file{report(0, "")};
  CHECK(paths(file, {.container = false, .roots = {{"mine"}}, .landed_as = "theirs"}) ==
        std::vector<std::string>{"theirs"});
  CHECK(paths(file, {.container = true, .roots = {{"mine"}}, .landed_as = {}}) == std::vector<std::string>{"mine"});
  ReceiptSpool spool{-1, {.container = false, .roots = {{"mine"}}, .landed_as = {}}};
  auto landed = report(0, "");
  landed.target_path = "some/where/theirs";
  REQUIRE(spool.keep(landed).ok());
  CHECK(spool.landed_as() == "theirs");
}

TEST_CASE("receipt spool: a path stands once, and what was left out not at all") {
  const LandingNames landing{.container = true, .roots = {{"one", true}, {"two", true}}, .landed_as = {}};
  const std::vector<storage::FileReport> both{report(0, "same", 1), report(1, "same", 2), report(0, "other", 3)};
  CHECK(paths(both, landing) == std::vector<std::string>{"other", "same"});
  CHECK(paths(both, landing, {1, 3}) == std::vector<std::string>{"same"});
  CHECK(paths(both, landing, {1, 2, 3}).empty());
}

TEST_CASE("receipt spool: a list that is longer than memory is the one that sorting in memory makes") {
  const LandingNames landing{.container = false, .roots = {{"tree"}}, .landed_as = {}};
  ReceiptSpool spool{-1, landing};
  Rng rng{11};
  std::vector<ReceiptLine> expected;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    auto each = report(0, std::to_string(rng.below(1'000'000'000)) + "/a name of some length/" + std::to_string(i), i);
    each.size = i;
    each.digest = digest::xxh3(bytes::as_bytes(each.path));
    REQUIRE(spool.keep(each).ok());
    if (i % 100 == 7) continue;
    const auto digest = each.digest.bytes();
    expected.push_back({each.path, each.size, {digest.begin(), digest.end()}});
  }
  std::sort(expected.begin(), expected.end());
  std::set<std::uint64_t> left_out;
  for (std::uint64_t i = 7; i < 20'000; i += 100) left_out.insert(i);
  CHECK(*spool.lines("", left_out) == expected);
  const auto list = spool.list("", left_out);
  REQUIRE(list.ok());
  CHECK(list->files() == expected.size());
  CHECK(list->sha256() == receipt_list_sha256(expected));
  std::uint64_t bytes = 0;
  for (const auto& line : expected) bytes += line.size;
  CHECK(list->bytes() == bytes);
  std::string text;
  REQUIRE(list->text([&](std::span<const std::byte> piece) {
                text += bytes::as_text(piece);
                return Status{};
              })
              .ok());
  CHECK(text == encode_receipt_list(expected));
}

TEST_CASE("resume key: equal words give one key, and every different word another") {
  const TransferIdentity base{.operation = "push",
                              .daemon = {},
                              .sources = {"/a", "/b"},
                              .destination = "/d",
                              .container = false,
                              .overwrite = "never",
                              .digest = "xxh3",
                              .links = "keep"};
  CHECK(resume_key_of(base) == resume_key_of(base));
  const auto differs = [&](auto change) {
    TransferIdentity other = base;
    change(other);
    return resume_key_of(other) != resume_key_of(base);
  };
  CHECK(differs([](auto& i) { i.operation = "pull"; }));
  CHECK(differs([](auto& i) { i.daemon.sha256[0] = std::byte{1}; }));
  CHECK(differs([](auto& i) { i.sources = {"/a", "/c"}; }));
  CHECK(differs([](auto& i) { i.sources = {"/a/b"}; }));
  CHECK(differs([](auto& i) { i.destination = "/e"; }));
  CHECK(differs([](auto& i) { i.container = true; }));
  CHECK(differs([](auto& i) { i.overwrite = "skip"; }));
  CHECK(differs([](auto& i) { i.digest = "sha256"; }));
  CHECK(differs([](auto& i) { i.links = "follow"; }));
  // Moving a byte from one word to the next is a difference, too.
  CHECK(differs([](auto& i) {
    i.sources = {"/a", "/b/"};
    i.destination = std::string(1, 'd');
  }));
}
