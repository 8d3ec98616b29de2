#include "control/gate/failure.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/control/gate/exchange_run.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

TEST_CASE("failure: what a daemon says is shown safely, and marked as remote") {
  proto::Failure failure;
  failure.set_code(1405);
  failure.set_message("no\x1b[2J\n" + std::string(5000, 'm'));
  const auto error = error_of_failure(failure);
  CHECK(error.code == ErrorCode::AUTH_FAILED);
  CHECK(error.side == ErrorSide::remote);
  CHECK(error.message.find('\x1b') == std::string::npos);
  CHECK(error.message.find('\n') == std::string::npos);
  CHECK(error.message.size() < 1100);
  // Names that are not UTF-8 travel, and huge paths can not make a message that the framing refuses.
  const auto envelope = failure_envelope({ErrorCode::NOT_FOUND, "no \xff", std::string(3'000'000, '\xfe')});
  const auto read = error_of_failure(parse(encode_frame(envelope)).envelope.failure());
  CHECK(read.code == ErrorCode::NOT_FOUND);
  CHECK(read.path.size() == failure_path_max);
}
