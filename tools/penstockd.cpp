// penstockd: the daemon and its operator's commands.

#include <chrono>
#include <string>
#include <vector>

#include "tools/run/daemon_program.h"
#include "tools/run/heap.h"
#include "tools/run/standard_streams.h"

int main(int argc, char** argv) {
  const auto started = std::chrono::steady_clock::now();
  penstock::tools::share_heap();
  penstock::tools::ensure_standard_streams();
  return penstock::tools::run_daemon_program(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), started);
}
