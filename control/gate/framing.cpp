#include "control/gate/framing.h"

#include <algorithm>

#include "common/bytes/give_back.h"
#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/secret_bytes.h"
#include "control/gate/envelope.h"

namespace penstock::control {
namespace {

void wipe(std::span<char> text) { crypto::wipe(std::as_writable_bytes(text)); }

/// As append(), but where the text moves on the way, what it leaves behind is overwritten.
void append_wiping(std::string& text, std::string_view more) {
  if (text.capacity() - text.size() < more.size()) {
    std::string longer;
    longer.reserve(std::max(text.size() + more.size(), 2 * text.size()));
    longer.append(text);
    wipe(text);
    text.swap(longer);
  }
  text.append(more);
}

}  // namespace

std::string_view to_string(FrameError error) {
  switch (error) {
    case FrameError::too_long:
      return "a message longer than allowed";
    case FrameError::malformed:
      return "a message that can not be read";
    case FrameError::unproven_budget:
      return "too many bytes before the proof";
  }
  return "?";
}

std::string encode_frame(const proto::Envelope& envelope) {
  const std::size_t size = envelope.ByteSizeLong();
  PENSTOCK_CHECK(size <= message_size_max);
  std::string frame(frame_prefix_size + size, '\0');
  for (std::size_t i = 0; i < frame_prefix_size; ++i)
    frame[i] = static_cast<char>(size >> (8 * (frame_prefix_size - 1 - i)) & 0xff);
  PENSTOCK_CHECK(envelope.SerializeToArray(frame.data() + frame_prefix_size, static_cast<int>(size)));
  return frame;
}

FrameDecoder::~FrameDecoder() { forget_all(); }

void FrameDecoder::forget_all() {
  if (!proven_) wipe(buffer_);
  bytes::give_back(buffer_);
  start_ = 0;
}

void FrameDecoder::feed(std::span<const std::byte> bytes) {
  if (failed_) return;
  // What was polled goes first, so that the buffer never holds more than one message and one feed.
  buffer_.erase(0, start_);
  start_ = 0;
  if (proven_) {
    buffer_.append(bytes::as_text(bytes));
  } else {
    append_wiping(buffer_, bytes::as_text(bytes));
  }
}

Result<std::optional<Frame>, FrameError> FrameDecoder::poll() {
  const auto fail = [this](FrameError error) {
    failed_ = error;
    forget_all();
    return error;
  };
  if (failed_) return *failed_;

  const std::string_view pending = std::string_view{buffer_}.substr(start_);
  if (pending.size() < frame_prefix_size) return std::optional<Frame>{};
  std::size_t size = 0;
  for (std::size_t i = 0; i < frame_prefix_size; ++i) size = size << 8 | static_cast<unsigned char>(pending[i]);
  if (size > message_size_max || (!proven_ && size > unproven_bytes_max - frame_prefix_size))
    return fail(FrameError::too_long);
  if (!proven_ && unproven_bytes_ + frame_prefix_size + size > unproven_bytes_max)
    return fail(FrameError::unproven_budget);
  if (pending.size() - frame_prefix_size < size) return std::optional<Frame>{};

  const std::string_view body = pending.substr(frame_prefix_size, size);
  // An Envelope without a body that we know is a newer peer's optional message, and not an error; an empty one is
  // nobody's.
  auto envelope = size == 0 ? std::nullopt : decode_envelope(bytes::as_bytes(body));
  if (!envelope) return fail(FrameError::malformed);
  Frame frame{.envelope = *std::move(envelope), .bytes = {}};
  if (!frame.envelope.has_data()) frame.bytes = pending.substr(0, frame_prefix_size + size);
  if (!proven_) {
    wipe(std::span{buffer_}.subspan(start_, frame_prefix_size + size));
    unproven_bytes_ += frame_prefix_size + size;
  }
  start_ += frame_prefix_size + size;
  return std::optional{std::move(frame)};
}

}  // namespace penstock::control
