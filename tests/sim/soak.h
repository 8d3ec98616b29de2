#pragma once

#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace penstock::sim {

/// Whether there is time for all cells of a table (`tools/test --soak`), and not only for those of every run.
inline bool is_soak() {
  const char* said = std::getenv("PENSTOCK_LONG");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return said != nullptr && std::string_view{said} == "1";
}

/// The cells that a run tries: those of every run, and in a soak the others as well.
template <class Cell>
std::vector<Cell> cells(std::initializer_list<Cell> always, std::initializer_list<Cell> in_soak) {
  std::vector<Cell> all{always};
  if (is_soak()) all.insert(all.end(), in_soak);
  return all;
}

}  // namespace penstock::sim
