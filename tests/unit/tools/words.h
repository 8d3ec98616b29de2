#pragma once

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tools/cli/parser.h"
#include "tools/config/places.h"

namespace penstock::tools::test {

/// Splits at spaces; nothing is quoted.
inline std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in{line};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

inline Environment environment_of(std::map<std::string, std::string, std::less<>> variables, bool superuser = false) {
  return {.variable = [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional{found->second};
          },
          .superuser = superuser};
}

}  // namespace penstock::tools::test
