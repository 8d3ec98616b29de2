// penstock: the client's command.

#include <chrono>

#include "tools/run/client_program.h"
#include "tools/run/heap.h"
#include "tools/run/standard_streams.h"
#include "tools/run/words.h"

int main(int argc, char** argv) {
  const auto started = std::chrono::steady_clock::now();
  penstock::tools::share_heap();
  penstock::tools::ensure_standard_streams();
  return penstock::tools::run_client_program(penstock::tools::take_client_words(argc, argv), started);
}
