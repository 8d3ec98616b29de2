#include "control/gate/framing.h"

#include <doctest/doctest.h>

#include <random>

#include "common/bytes/view.h"

using namespace penstock;
using namespace penstock::control;

namespace {

proto::Envelope ping(std::size_t size) {
  proto::Envelope envelope;
  envelope.mutable_ping()->set_payload(std::string(size, 'p'));
  return envelope;
}

std::string prefix(std::uint32_t length) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(length >> shift & 0xff);
  return bytes;
}

// The largest frame of `size` bytes in all that holds one ping.
std::string frame_of_size(std::size_t size) {
  std::size_t payload = size - frame_prefix_size;
  while (frame_prefix_size + ping(payload).ByteSizeLong() > size) --payload;
  auto frame = encode_frame(ping(payload));
  REQUIRE(frame.size() == size);
  return frame;
}

void feed(FrameDecoder& decoder, std::string_view text) { decoder.feed(bytes::as_bytes(text)); }

}  // namespace

TEST_CASE("framing: what is encoded is decoded, in pieces of any size, bytes and all") {
  std::mt19937 random{11};
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> frames;
    std::string stream;
    for (auto count = 1 + random() % 6; count > 0; --count) {
      frames.push_back(encode_frame(ping(random() % 300)));
      stream += frames.back();
    }
    FrameDecoder decoder;
    std::vector<std::string> got;
    for (std::size_t at = 0; at < stream.size();) {
      const auto piece = std::min<std::size_t>(1 + random() % 70, stream.size() - at);
      feed(decoder, std::string_view{stream}.substr(at, piece));
      at += piece;
      for (;;) {
        const auto frame = decoder.poll();
        REQUIRE(frame.ok());
        if (!*frame) break;
        CHECK(encode_frame((*frame)->envelope) == (*frame)->bytes);
        got.push_back((*frame)->bytes);
      }
    }
    CHECK(got == frames);
    CHECK_FALSE(decoder.mid_message());
  }
}

TEST_CASE("framing: every truncation waits for more and knows that it is in the middle") {
  const auto frame = encode_frame(ping(20));
  for (std::size_t size = 1; size < frame.size(); ++size) {
    FrameDecoder decoder;
    feed(decoder, std::string_view{frame}.substr(0, size));
    const auto polled = decoder.poll();
    REQUIRE(polled.ok());
    CHECK_FALSE(polled->has_value());
    CHECK(decoder.mid_message());
  }
}

TEST_CASE("framing: a length of 4 GiB is refused at its fourth byte, for good") {
  for (const bool proven : {false, true}) {
    FrameDecoder decoder;
    if (proven) decoder.set_proven();
    feed(decoder, prefix(0xffffffff).substr(0, 3));
    CHECK(decoder.poll().ok());
    feed(decoder, prefix(0xffffffff).substr(3));
    REQUIRE(!decoder.poll().ok());
    CHECK(decoder.poll().error() == FrameError::too_long);
    feed(decoder, encode_frame(ping(1)));
    CHECK(!decoder.poll().ok());
  }
}

TEST_CASE("framing: before the proof the limit is 64 KiB with the prefix, after it 1 MiB without") {
  {
    FrameDecoder decoder;
    feed(decoder, frame_of_size(unproven_bytes_max));
    CHECK(decoder.poll().value().has_value());
  }
  {
    FrameDecoder decoder;
    feed(decoder, prefix(unproven_bytes_max - frame_prefix_size + 1));
    CHECK(decoder.poll().error() == FrameError::too_long);
  }
  {
    FrameDecoder decoder;
    decoder.set_proven();
    feed(decoder, frame_of_size(frame_prefix_size + message_size_max));
    CHECK(decoder.poll().value().has_value());
    feed(decoder, prefix(message_size_max + 1));
    CHECK(decoder.poll().error() == FrameError::too_long);
  }
}

TEST_CASE("framing: before the proof 64 KiB is the limit of all messages together") {
  FrameDecoder decoder;
  feed(decoder, frame_of_size(40 * 1024));
  CHECK(decoder.poll().value().has_value());
  feed(decoder, frame_of_size(24 * 1024));
  CHECK(decoder.poll().value().has_value());
  feed(decoder, encode_frame(ping(1)));
  CHECK(decoder.poll().error() == FrameError::unproven_budget);
}

TEST_CASE("framing: what is pipelined behind the proof is judged as proven") {
  FrameDecoder decoder;
  feed(decoder, encode_frame(ping(3)) + prefix(message_size_max));
  CHECK(decoder.poll().value().has_value());
  decoder.set_proven();
  const auto polled = decoder.poll();
  REQUIRE(polled.ok());
  CHECK_FALSE(polled->has_value());
}

TEST_CASE("framing: empty and unreadable messages are malformed; unknown bodies are not") {
  {
    FrameDecoder decoder;
    feed(decoder, prefix(0));
    CHECK(decoder.poll().error() == FrameError::malformed);
  }
  {
    FrameDecoder decoder;
    feed(decoder, prefix(3) + "\xff\xff\xff");
    CHECK(decoder.poll().error() == FrameError::malformed);
  }
  {  // field 999, length-delimited, empty: from a newer peer
    FrameDecoder decoder;
    feed(decoder, prefix(3) + std::string{"\xba\x3e\x00", 3});
    const auto polled = decoder.poll();
    REQUIRE(polled.ok());
    REQUIRE(polled->has_value());
    CHECK((*polled)->envelope.body_case() == proto::Envelope::BODY_NOT_SET);
  }
}
