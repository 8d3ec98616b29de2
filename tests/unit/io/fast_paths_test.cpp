#include "dataplane/io/fast_paths.h"

#include <doctest/doctest.h>

#include "common/units.h"

namespace penstock::io {
namespace {

const FastPaths all_on{.gso = true,
                       .gro = true,
                       .receive_buffer_asked = 8 * MiB,
                       .receive_buffer = 8 * MiB,
                       .send_buffer_asked = 8 * MiB,
                       .send_buffer = 8 * MiB,
                       .workers = 4,
                       .steered = true,
                       .busy_poll = std::chrono::microseconds{50}};

}  // namespace

TEST_CASE("fast paths: what is on is named, in a fixed order") {
  CHECK(words_of(all_on) == std::vector<std::string>{"udp_segment", "udp_gro", "workers=4", "steering=bpf",
                                                     "receive_buffer=8MiB", "send_buffer=8MiB", "busy_poll=50us"});
  FastPaths off = all_on;
  off.gso = off.gro = off.steered = false;
  off.busy_poll = {};
  off.receive_buffer = 212'992;
  CHECK(words_of(off) ==
        std::vector<std::string>{"workers=4", "steering=hash", "receive_buffer=208KiB", "send_buffer=8MiB"});
}

TEST_CASE("fast paths: small buffers come with the command that makes them larger, naming only what is small") {
  CHECK_FALSE(buffer_hint(all_on));
  FastPaths small = all_on;
  small.receive_buffer = 212'992;
  REQUIRE(buffer_hint(small));
  CHECK(buffer_hint(small)->find("net.core.rmem_max=8388608") != std::string::npos);
  CHECK(buffer_hint(small)->find("wmem_max") == std::string::npos);
  small.send_buffer = 212'992;
  CHECK(buffer_hint(small)->find("net.core.rmem_max=8388608 net.core.wmem_max=8388608") != std::string::npos);
  // A kernel that grants nearly all is not worth a word.
  FastPaths nearly = all_on;
  nearly.receive_buffer = 7 * MiB;
  CHECK_FALSE(buffer_hint(nearly));
}

}  // namespace penstock::io
