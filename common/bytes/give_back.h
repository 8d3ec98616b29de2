#pragma once

namespace penstock::bytes {

/// Empties a vector or string, and gives its memory back. Neither clear() nor `= {}` does: for both of them the latter
/// assigns an empty initializer list, which keeps the capacity.
template <class Container>
void give_back(Container& container) {
  Container{}.swap(container);
}

}  // namespace penstock::bytes
