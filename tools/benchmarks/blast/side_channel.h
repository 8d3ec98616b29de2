#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <span>

#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/io/endpoint.h"

namespace penstock::benchmarks {

/// The TCP connection beside a blast: short messages of fixed size, so that nothing is ever in doubt but the datagrams.
/// Every error is IO_ERROR, or what the failed call's errno means. Threads: one owner.
class SideChannel {
 public:
  /// A listening socket at exactly `local`.
  static Result<UniqueFd> listen(const io::Endpoint& local);
  /// Waits for one connection.
  static Result<SideChannel> accept(const UniqueFd& listener);
  static Result<SideChannel> connect(const io::Endpoint& to);

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// All of `message`; blocks.
  [[nodiscard]] Status send(std::span<const std::byte> message);
  /// Fills `message`; blocks. An error too when the peer hangs up before.
  [[nodiscard]] Status receive(std::span<std::byte> message);
  /// Something to read, or the end, comes within `patience`.
  [[nodiscard]] Result<bool> readable(std::chrono::milliseconds patience) const;

 private:
  explicit SideChannel(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace penstock::benchmarks
