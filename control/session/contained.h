#pragma once

#include <asio/awaitable.hpp>
#include <exception>
#include <utility>

#include "common/result.h"

namespace penstock::control {

/// What `work` gives, or INTERNAL with the words of the exception that ended it, so that what follows is done whatever
/// happened. By then the work's frame is gone, and with it what it owned. Not a catch in the caller: whoever is
/// destroyed while suspended, as the event loop goes, must not clean up there any more, which a guard would.
template <class Outcome>
asio::awaitable<Outcome> async_contained(asio::awaitable<Outcome> work) {
  try {
    co_return co_await std::move(work);
  } catch (const std::exception& thrown) {
    co_return Error{ErrorCode::INTERNAL, thrown.what()};
  } catch (...) {
    co_return Error{ErrorCode::INTERNAL, "an exception of no known kind"};
  }
}

}  // namespace penstock::control
