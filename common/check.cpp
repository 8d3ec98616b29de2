#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace penstock {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "penstock: internal invariant broken at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace penstock
