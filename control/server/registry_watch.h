#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "control/registry/registry.h"

namespace penstock::control {

/// Brings what the operator changes in the registry to the sessions that are being served.
/// A session is anything with `client()`, the UUID, and `refresh(const ClientRecord&)`; the sessions are borrowed for
/// the call. Threads: the registry's owner. Time: whoever calls poll() keeps the period.
class RegistryWatch {
 public:
  // Specification (PROTOCOL section 1): revocation ends live sessions within 1 s. The first is how often to poll: the
  // session's lane takes no byte after the first poll that sees the revocation. The second is how long a client that
  // does not read may then keep the connection, for the sake of those who do and shall learn why.
  static constexpr Duration period = std::chrono::milliseconds{400};
  static constexpr Duration last_word_max = std::chrono::milliseconds{500};
  static_assert(period + last_word_max < std::chrono::seconds{1});

  /// `registry` outlives this.
  explicit RegistryWatch(Registry& registry) : registry_(registry) {}

  /// Every `period`. Each session hears its client's record if anything has changed since the poll before. A registry
  /// that can not be read just now is asked again by the next poll, so no change is lost.
  template <class Sessions>
  void poll(const Sessions& sessions) {
    const auto now = registry_.change_counter();
    if (!now || seen_ == *now) return;
    bool all_told = true;
    for (const auto& session : sessions) all_told = tell(*session) && all_told;
    if (all_told) seen_ = *now;
  }

  /// A session has joined those that are polled. Its client was judged some time ago, with its proof: a change since
  /// then may have been polled before the session was there to hear of it.
  template <class Session>
  void on_joined(Session& session) {
    if (!tell(session)) seen_.reset();
  }

 private:
  template <class Session>
  bool tell(Session& session) {
    const auto record = registry_.find_client(session.client());
    if (record && *record) session.refresh(**record);
    return record.ok();
  }

  Registry& registry_;
  std::optional<std::uint64_t> seen_;  // the counter whose changes every session has heard of
};

}  // namespace penstock::control
