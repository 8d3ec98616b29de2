#include "control/client/questions.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <utility>

#include "control/gate/failure.h"

namespace penstock::control {

Error unexpected_reply() {
  return {ErrorCode::INTERNAL, "the daemon answered something else than was asked", {}, ErrorSide::remote};
}

Questions::Questions(std::shared_ptr<SessionLink> link) : link_(std::move(link)), news_(link_->channel().executor()) {
  asio::co_spawn(
      link_->channel().executor(),
      [this]() -> asio::awaitable<void> {
        SessionLink::Handler handler = [this](proto::Envelope envelope) { return on_message(std::move(envelope)); };
        auto over = co_await link_->async_run(std::move(handler));
        over_ = std::move(over);
        news_.notify();
      },
      asio::detached);
}

asio::awaitable<Result<proto::Envelope>> Questions::async_ask(proto::Envelope request) {
  if (farewell_) co_return *farewell_;
  asking_ = true;
  link_->send(std::move(request));
  while (!reply_ && !over_) co_await news_.async_wait();
  asking_ = false;
  if (!reply_) co_return why_over();
  auto reply = std::move(*reply_);
  reply_.reset();
  if (reply.has_failure()) co_return error_of_failure(reply.failure());
  co_return std::move(reply);
}

asio::awaitable<void> Questions::async_close() {
  link_->end(Status{});
  while (!over_) co_await news_.async_wait();
}

Error Questions::why_over() const {
  if (farewell_) return *farewell_;
  return *over_ ? Error{ErrorCode::PEER_LOST, "the daemon closed the connection"} : over_->error();
}

asio::awaitable<Status> Questions::on_message(proto::Envelope envelope) {
  // A daemon that is shutting down, or full, says so before it has heard the question.
  if (!asking_ && envelope.has_failure()) {
    farewell_ = error_of_failure(envelope.failure());
    co_return Status{};
  }
  if (reply_ || !asking_)
    co_return Error{ErrorCode::INTERNAL, "the daemon answered without a question", {}, ErrorSide::remote};
  reply_ = std::move(envelope);
  news_.notify();
  co_return Status{};
}

}  // namespace penstock::control
