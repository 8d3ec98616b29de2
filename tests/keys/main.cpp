#include <fmt/format.h>

#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/random.h"
#include "tests/keys/made_keys.h"

// `penstock-test-keys make DIRECTORY` before the tests, `penstock-test-keys client HOME KEY < TOKEN` in those that are
// no C++.

namespace penstock::control::test {
namespace {

Status run(const std::vector<std::string_view>& words) {
  if (words.size() == 2 && words[0] == "make") return make_keys(words[1]);
  if (words.size() == 3 && words[0] == "client") {
    const std::string text{std::istreambuf_iterator<char>{std::cin}, {}};
    const auto token = decode_token(text);
    if (!token) return token.error();
    return give_client(words[1], *token, words[2]);
  }
  return Error{ErrorCode::USAGE, "usage: penstock-test-keys make DIRECTORY | client HOME KEY < TOKEN"};
}

}  // namespace
}  // namespace penstock::control::test

int main(int argc, char** argv) {
  const auto done = penstock::control::test::run({argv + 1, argv + argc});
  if (!done) fmt::print(stderr, "penstock-test-keys: {}\n", done.error().message);
  return done ? 0 : 1;
}
