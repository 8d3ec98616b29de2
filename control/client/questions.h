#pragma once

#include <asio/awaitable.hpp>
#include <memory>
#include <optional>

#include "common/result.h"
#include "control/proto/gate.pb.h"
#include "control/session/async_event.h"
#include "control/session/session_link.h"

namespace penstock::control {

/// Of a daemon whose answer does not fit the question.
[[nodiscard]] Error unexpected_reply();

/// A session used for requests: one question, one answer, in order.
/// Lifetime: once made, async_close must have returned before it goes. Threads: the link's.
class Questions {
 public:
  /// Begins to listen at once.
  explicit Questions(std::shared_ptr<SessionLink> link);
  Questions(const Questions&) = delete;
  Questions& operator=(const Questions&) = delete;

  /// The answer, or the daemon's refusal as an error. PEER_LOST when the session ends first. Requires: no other
  /// question is open.
  asio::awaitable<Result<proto::Envelope>> async_ask(proto::Envelope request);

  /// Why there will be no answer any more; nullopt while the session stands.
  [[nodiscard]] std::optional<Error> farewell() const { return farewell_; }

  asio::awaitable<void> async_close();

 private:
  [[nodiscard]] Error why_over() const;
  asio::awaitable<Status> on_message(proto::Envelope envelope);

  std::shared_ptr<SessionLink> link_;
  AsyncEvent news_;
  bool asking_ = false;
  std::optional<proto::Envelope> reply_;
  std::optional<Error> farewell_;
  std::optional<Status> over_;
};

}  // namespace penstock::control
