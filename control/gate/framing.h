#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "control/proto/gate.pb.h"

namespace penstock::control {

// Specification (PROTOCOL section 1): both ends refuse what is longer.
inline constexpr std::size_t frame_prefix_size = 4;
inline constexpr std::size_t unproven_bytes_max = std::size_t{64} * 1024;  // of one direction, prefixes included
inline constexpr std::size_t message_size_max = std::size_t{1024} * 1024;  // of one Envelope once proven

enum class FrameError : std::uint8_t {
  too_long,         // the length prefix is above the limit in force; nothing was allocated for it
  malformed,        // not an Envelope, or an empty one
  unproven_budget,  // more than unproven_bytes_max before the proofs
};
std::string_view to_string(FrameError error);

/// One message: the Envelope, and its bytes with the prefix exactly as they travelled, for the transcript: of Data,
/// which comes after all transcripts, they are not kept.
struct Frame {
  proto::Envelope envelope;
  std::string bytes;
};

/// The bytes of one message. Requires: at most message_size_max when serialised (ours to keep, so checked).
std::string encode_frame(const proto::Envelope& envelope);

/// Cuts a stream of bytes, in pieces of any size, into messages. Pure.
/// Bound: holds at most one unfinished message and what one feed() brought beyond it.
/// What it holds of the time before the proof is overwritten as soon as it was polled: a hello may bring a token.
/// Limits are judged when a message is polled, so that what a client pipelines behind its proof is judged as proven.
class FrameDecoder {
 public:
  FrameDecoder() = default;
  FrameDecoder(const FrameDecoder&) = delete;
  FrameDecoder& operator=(const FrameDecoder&) = delete;
  ~FrameDecoder();

  /// Appends received bytes. Call poll() until it has no more before feeding again.
  void feed(std::span<const std::byte> bytes);
  /// The next whole message; nullopt when more bytes are needed. An error is final: every later poll repeats it.
  Result<std::optional<Frame>, FrameError> poll();
  /// The peer has proven itself: from here on messages of up to message_size_max are taken.
  void set_proven() { proven_ = true; }
  /// True when a message has begun and is not complete: an end of stream here is a truncation.
  [[nodiscard]] bool mid_message() const { return !failed_ && start_ != buffer_.size(); }

 private:
  void forget_all();

  std::string buffer_;
  std::size_t start_ = 0;           // first byte of buffer_ not yet polled
  std::size_t unproven_bytes_ = 0;  // polled so far
  bool proven_ = false;
  std::optional<FrameError> failed_;
};

}  // namespace penstock::control
