#include "control/client/approach_words.h"

#include <doctest/doctest.h>

#include <string>

#include "control/gate/tls_channel.h"

using namespace penstock;
using namespace penstock::control;
using namespace std::chrono_literals;

namespace {

constexpr auto hint = "--connect-timeout allows more";

Error words_for(ErrorCode code, const WayThere& way, ErrorSide side = ErrorSide::local) {
  ClientConfig config;
  config.host = "far.example";
  config.port = 7440;
  return named(config, Error{code, "the reason", {}, side}, way);
}
bool says(const Error& error, const std::string& part) { return error.message.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("approach: whose round trips are too long for the gate is told so, however the attempt ended") {
  for (const auto code : {ErrorCode::TIMED_OUT, ErrorCode::PEER_LOST}) {
    for (const bool gate_time_rules : {false, true}) {
      const Error error = words_for(code, {.rtt = 5001ms, .gate_time_rules = gate_time_rules});
      CAPTURE(error.message);
      CHECK(error.code == ErrorCode::TIMED_OUT);
      CHECK(says(error, "far.example:7440 is too far away"));
      CHECK(says(error, "5 s"));
      CHECK_FALSE(says(error, hint));
    }
  }
}

TEST_CASE("approach: more time is advised only where it is the user's time that ran out") {
  CHECK(says(words_for(ErrorCode::TIMED_OUT, {.rtt = 4s}), hint));
  CHECK(says(words_for(ErrorCode::TIMED_OUT, {}), hint));
  const Error error = words_for(ErrorCode::TIMED_OUT, {.rtt = 4s, .gate_time_rules = true});
  CAPTURE(error.message);
  CHECK_FALSE(says(error, hint));
  CHECK(says(error, "far.example:7440"));
  CHECK(says(error, "10 s"));
}

TEST_CASE("approach: a round trip just below what the gate allows is not called too long") {
  CHECK(says(words_for(ErrorCode::PEER_LOST, {.rtt = gate_timeout / gate_round_trips - 1ns}), "being restarted"));
  CHECK(says(words_for(ErrorCode::PEER_LOST, {.rtt = gate_timeout / gate_round_trips}), "too far away"));
}

TEST_CASE("approach: what the daemon itself says is left as it is") {
  for (const auto code : {ErrorCode::TIMED_OUT, ErrorCode::SERVER_BUSY, ErrorCode::PIN_MISMATCH}) {
    const Error error = words_for(code, {.rtt = 9s}, ErrorSide::remote);
    CHECK(error.code == code);
    CHECK(error.message == "the reason");
  }
}
