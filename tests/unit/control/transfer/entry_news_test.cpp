#include "control/transfer/entry_news.h"

#include <doctest/doctest.h>

#include "common/digest/xxh3.h"
#include "tests/unit/control/transfer/side_fakes.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

using Told = std::vector<std::pair<std::string, EntryOutcome>>;

/// A directory, a file, a link, a file.
struct Scene {
  explicit Scene(EntryNewsWanted wanted) : news(wanted, host) {
    std::uint64_t index = 0;
    for (const auto& [path, type] : {std::pair{"d", storage::FileType::directory},
                                     {"d/f", storage::FileType::regular},
                                     {"d/l", storage::FileType::symlink},
                                     {"e", storage::FileType::regular}}) {
      storage::ManifestEntry entry;
      entry.path = path;
      entry.type = type;
      news.on_listed(index++, entry);
    }
  }
  void finished(std::uint64_t index, std::string path) {
    news.on_file_finished(
        {.index = index, .root = 0, .path = std::move(path), .target_path = {}, .size = 1, .digest = digest::Xxh3{}});
  }

  FakeHost host;
  EntryNews news;
};

storage::Verdict verdict(std::uint64_t index, storage::Action action) {
  storage::Verdict made;
  made.index = index;
  made.action = action;
  return made;
}

}  // namespace

TEST_CASE("entry news: a dry run tells what files and links would meet, and of no directory") {
  Scene scene{EntryNewsWanted::decisions};
  scene.news.on_decided(2, std::vector{verdict(0, storage::Action::refuse), verdict(1, storage::Action::skip)}, {});
  scene.news.on_decided(4, {}, std::vector<std::uint64_t>{3});
  CHECK(scene.host.entries ==
        Told{{"d/f", EntryOutcome::skipped}, {"d/l", EntryOutcome::finished}, {"e", EntryOutcome::replaced}});
  CHECK(scene.host.types ==
        std::vector{storage::FileType::regular, storage::FileType::symlink, storage::FileType::regular});
  scene.news.on_committed({});
  CHECK(scene.host.entries.size() == 3);  // each once
}

TEST_CASE("entry news: what is skipped is told of at once, a file when it is complete, a link with the commit") {
  Scene scene{EntryNewsWanted::as_done};
  scene.news.on_decided(4, std::vector{verdict(3, storage::Action::meta_only)}, std::vector<std::uint64_t>{1, 2});
  CHECK(scene.host.entries == Told{{"e", EntryOutcome::skipped}});
  scene.finished(1, "d/f");
  CHECK(scene.host.entries.back() == Told::value_type{"d/f", EntryOutcome::replaced});
  scene.news.on_committed({});
  CHECK(scene.host.entries.back() == Told::value_type{"d/l", EntryOutcome::replaced});
  CHECK(scene.host.entries.size() == 3);
}

TEST_CASE("entry news: a link that was left out is not told of as made") {
  Scene scene{EntryNewsWanted::as_done};
  scene.news.on_decided(4, {}, {});
  scene.news.on_committed({2});
  CHECK(scene.host.entries.empty());
}

TEST_CASE("entry news: where nobody asks, nothing is kept but what the host may pass over itself") {
  Scene scene{EntryNewsWanted::nothing};
  scene.news.on_decided(4, std::vector{verdict(3, storage::Action::skip)}, {});
  scene.news.on_committed({});
  CHECK(scene.host.entries.empty());
}
