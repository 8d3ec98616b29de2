#include "tools/run/words.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace penstock::tools {
namespace {

/// A writable argv.
struct Argv {
  explicit Argv(std::vector<std::string> texts) : storage(std::move(texts)) {
    for (auto& text : storage) pointers.push_back(text.data());
    pointers.push_back(nullptr);
  }
  std::vector<std::string> take() { return take_client_words(static_cast<int>(storage.size()), pointers.data()); }
  std::vector<std::string> storage;
  std::vector<char*> pointers;
};

TEST_CASE("words: a token in argv is overwritten at once and still reaches the command") {
  Argv apart{{"penstock", "register", "h", "--token", "pt1_secret"}};
  CHECK(apart.take() == std::vector<std::string>{"register", "h", "--token", "pt1_secret"});
  CHECK(apart.storage[4] == "xxxxxxxxxx");
  CHECK(apart.storage[2] == "h");
  Argv joined{{"penstock", "--token=pt1_secret", "register", "h"}};
  CHECK(joined.take()[0] == "--token=pt1_secret");
  CHECK(joined.storage[1] == "--token=xxxxxxxxxx");
}

TEST_CASE("words: a token is overwritten even when the command line makes no sense") {
  Argv broken{{"penstock", "register", "--token", "pt1_secret", "--nonsense"}};
  broken.take();
  CHECK(broken.storage[3] == "xxxxxxxxxx");
  Argv elsewhere{{"penstock", "push", "a", "h:/b", "--token", "pt1_secret"}};
  elsewhere.take();
  CHECK(elsewhere.storage[5] == "xxxxxxxxxx");
}

TEST_CASE("words: nothing else in argv is touched") {
  Argv argv{{"penstock", "register", "h", "--token", "-"}};
  argv.take();
  CHECK(argv.storage[4] == "-");
  Argv empty{{"penstock"}};
  CHECK(empty.take().empty());
}

}  // namespace
}  // namespace penstock::tools
