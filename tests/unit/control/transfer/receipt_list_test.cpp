#include "control/transfer/receipt_list.h"

#include <doctest/doctest.h>

#include "common/digest/xxh3.h"
#include "control/transfer/resume_key.h"

using namespace penstock;
using namespace penstock::control;

namespace {

storage::FileReport report(std::uint32_t root, std::string path) {
  return {.index = 0, .root = root, .path = std::move(path), .target_path = {}, .size = 1, .digest = digest::Xxh3{}};
}
std::vector<std::string> paths(std::span<const storage::FileReport> reports, const LandingNames& landing) {
  std::vector<std::string> found;
  for (const auto& line : receipt_lines(reports, landing)) found.push_back(line.path);
  return found;
}

}  // namespace

TEST_CASE("receipt list: paths are relative to where the transfer landed, sorted by their bytes") {
  const std::vector<storage::FileReport> tree{report(0, "sub/x"), report(0, "sub.b"), report(0, "a")};
  CHECK(paths(tree, {.container = false, .roots = {{"tree"}}, .landed_as = {}}) ==
        std::vector<std::string>{"a", "sub.b", "sub/x"});
  CHECK(paths(tree, {.container = true, .roots = {{"tree"}}, .landed_as = {}}) ==
        std::vector<std::string>{"tree/a", "tree/sub.b", "tree/sub/x"});
  CHECK(paths(tree, {.container = true, .roots = {{"tree", true}}, .landed_as = {}}) ==
        std::vector<std::string>{"a", "sub.b", "sub/x"});
}

TEST_CASE("receipt list: a single file is listed under the name that it landed as") {
  const std::vector<storage::FileReport> file{report(0, "")};
  CHECK(paths(file, {.container = false, .roots = {{"mine"}}, .landed_as = "theirs"}) ==
        std::vector<std::string>{"theirs"});
  CHECK(paths(file, {.container = true, .roots = {{"mine"}}, .landed_as = {}}) == std::vector<std::string>{"mine"});
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
