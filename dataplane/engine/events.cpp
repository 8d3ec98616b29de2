#include "dataplane/engine/events.h"

namespace penstock::engine {

std::string_view to_string(TransportError error) {
  switch (error) {
    case TransportError::none:
      return "closed in order";
    case TransportError::protocol_violation:
      return "the peer broke the datagram protocol";
    case TransportError::credit_exceeded:
      return "the peer sent more than it was granted";
    case TransportError::acknowledged_unsent:
      return "the peer acknowledged what was never sent";
    case TransportError::control_overflow:
      return "the peer's control stream is malformed or too long";
    case TransportError::open_failures:
      return "too many datagrams did not open under these keys";
    case TransportError::numbers_exhausted:
      return "the packet numbers are used up";
    case TransportError::cancelled:
      return "the session was cancelled";
  }
  return "unknown";
}

}  // namespace penstock::engine
