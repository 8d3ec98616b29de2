#include "control/gate/failure.h"

#include "common/escape.h"
#include "common/utf8.h"

namespace penstock::control {

void fill_failure(proto::Failure& failure, const Error& error) {
  failure.set_code(static_cast<std::uint32_t>(error.code));
  // A protobuf string must be UTF-8; a message of ours may quote a name that is not.
  failure.set_message(utf8_with_replacements(error.message.substr(0, failure_message_max)));
  failure.set_path(error.path.substr(0, failure_path_max));
}

proto::Envelope failure_envelope(const Error& error) {
  proto::Envelope envelope;
  fill_failure(*envelope.mutable_failure(), error);
  return envelope;
}

Error error_of_failure(const proto::Failure& failure) {
  // The other end escapes the names in its sentences; what it does not escape is made harmless here.
  std::string message = escape_sentence(failure.message(), failure_message_max);
  const auto code = error_code_from_number(failure.code());
  if (!code) message += " (error " + std::to_string(failure.code()) + " of a newer release)";
  return {code.value_or(ErrorCode::INTERNAL), std::move(message), failure.path(), ErrorSide::remote};
}

}  // namespace penstock::control
