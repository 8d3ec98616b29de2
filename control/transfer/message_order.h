#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "common/result.h"
#include "control/proto/gate.pb.h"

namespace penstock::control {

// Tuning: what the pipe may bring ahead of TCP and is kept until its turn. More waste memory; fewer lose the head start
// on a lossy path, never a message, since TCP brings each of them too.
inline constexpr std::size_t early_messages_max = 256;
inline constexpr std::size_t early_bytes_max = std::size_t{1} * 1024 * 1024;

/// Numbers the messages that travel twice: on TCP and, as CONTROL frames, in the pipe (PROTOCOL section 1).
class DualNumbering {
 public:
  void stamp(proto::Envelope& envelope) { envelope.set_id(++last_); }
  [[nodiscard]] std::uint64_t last() const { return last_; }

 private:
  std::uint64_t last_ = 0;
};

/// Brings the messages of both ways back into one order: by id, each once, whichever copy came first.
/// Pure. Bound: early_messages_max messages and early_bytes_max bytes wait for their turn; beyond it copies from the
/// pipe are dropped, and TCP's own are an error, because TCP is in order.
class DualOrder {
 public:
  enum class Way : std::uint8_t { tcp, pipe };

  /// Takes one message with an id. INTERNAL, side remote, when the peer's numbers make no sense.
  Status accept(proto::Envelope envelope, Way way);
  /// The next message in order; nullopt when it has not come.
  std::optional<proto::Envelope> poll();
  [[nodiscard]] std::size_t waiting() const { return early_.size(); }

 private:
  std::uint64_t next_ = 1;      // the id that poll() waits for
  std::uint64_t tcp_last_ = 0;  // largest id seen on TCP, where they rise by one
  std::map<std::uint64_t, proto::Envelope> early_;
  std::size_t early_bytes_ = 0;
};

}  // namespace penstock::control
