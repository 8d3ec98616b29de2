#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/client/local_store.h"
#include "control/client/transfer_command.h"

namespace penstock::control {

/// Our own side of a session, which opens on a storage thread while the session is being entered. Threads: the control
/// thread.
struct TransferCommand::Preparation {
  Preparation(const asio::any_io_executor& executor, std::shared_ptr<LocalStore> own)
      : store(std::move(own)), news(executor) {}

  std::shared_ptr<LocalStore> store;
  std::optional<Status> opened;
  AsyncEvent news;

  /// However long it takes.
  asio::awaitable<Status> async_opened() {
    while (!opened) co_await news.async_wait();
    co_return *opened;
  }
};

/// What lives as long as one connection of a TransferCommand. Private to its sources: transfer_session.cpp runs one,
/// transfer_finish.cpp ends it.
/// Threads: the control thread.
struct TransferCommand::Session {
  Session(OpenedSession session, std::shared_ptr<LocalStore> own)
      : opened(std::move(session)),
        news(opened.link->channel().executor()),
        store(std::move(own)),
        proven(opened.unproven == nullptr) {}

  OpenedSession opened;
  AsyncEvent news;
  std::optional<Status> link_over;
  std::optional<Error> failure;  // the daemon's word
  std::optional<proto::TransferOpened> transfer;
  bool done = false;    // a request was answered
  bool turned = false;  // the bytes take another way since the last progress
  std::shared_ptr<LocalStore> store;
  bool proven;           // the daemon, too
  bool greeted = false;  // the observer knows of the connection
  std::shared_ptr<TransferRun> run;
  bool under_way = false;                     // the run goes by the daemon's answer
  bool started = false;                       // the observer knows of the transfer
  std::vector<std::function<void()>> untold;  // what came before; bounded by what a source lists in a round trip
  proto::SinkProgress sink_progress;          // push: the daemon's
  proto::SourceProgress source_progress;      // pull: the daemon's

  /// Of whichever end sends, as far as is known here.
  [[nodiscard]] SenderNumbers sender(bool push) const {
    return push ? sender_numbers(run->stats().lane) : sender_numbers(source_progress);
  }
  /// For the observer, not before it knows of the transfer.
  void tell(std::function<void()> word) {
    if (started) return word();
    untold.push_back(std::move(word));
  }
  void tell_started() {
    started = true;
    for (const auto& word : std::exchange(untold, {})) word();
  }
  /// Complete under their names at the sink.
  [[nodiscard]] std::uint64_t files(bool push) const { return push ? sink_progress.files() : run->stats().files; }
};

/// What a push to a benchmarking daemon is told, whose address is shown as `daemon`.
[[nodiscard]] Error stores_nothing(const std::string& daemon);

}  // namespace penstock::control
