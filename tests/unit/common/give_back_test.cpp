#include "common/bytes/give_back.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace penstock::bytes {

TEST_CASE("give back: what held much is empty, and holds no memory") {
  std::vector<int> numbers(1000);
  give_back(numbers);
  CHECK(numbers.empty());
  CHECK(numbers.capacity() == 0);
  std::string text(1000, 'a');
  give_back(text);
  CHECK(text.empty());
  CHECK(text.capacity() == std::string{}.capacity());
}

}  // namespace penstock::bytes
