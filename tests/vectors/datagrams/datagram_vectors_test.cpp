#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "common/crypto/aead.h"
#include "dataplane/engine/keys/open_keys.h"
#include "dataplane/engine/keys/seal_keys.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/packet_header.h"
#include "dataplane/engine/wire/repair_frame.h"
#include "tests/vectors/vector_file.h"

namespace penstock::engine {
namespace {

std::uint64_t number_in(const tests::VectorRecord& record, const std::string& name, int base = 10) {
  return std::stoull(record.text(name), nullptr, base);
}

crypto::TrafficSecret secret_at(const tests::VectorRecord& record, std::uint64_t epoch) {
  const auto bytes = record.bytes("secret");
  REQUIRE(bytes.size() == crypto::traffic_secret_size);
  const std::span<const std::byte, crypto::traffic_secret_size> view(bytes);
  crypto::TrafficSecret secret{crypto::SecretArray<crypto::traffic_secret_size>{view}};
  for (std::uint64_t i = 0; i < epoch; ++i) secret.advance();
  return secret;
}

PacketHeader header_of(const tests::VectorRecord& record) {
  const bool data = record.text("kind") == "data";
  return {.type = data ? PacketType::data : PacketType::frames,
          .epoch_bits = static_cast<std::uint8_t>(number_in(record, "epoch") & 3),
          .connection = {number_in(record, "connection", 16)},
          .number_low = static_cast<std::uint32_t>(number_in(record, "number")),
          .offset = {data ? number_in(record, "offset") : 0}};
}

/// Decodes a frame and encodes it again.
std::string mirror(const RawFrame& frame, bytes::WireWriter& out) {
  const auto body = frame.body;
  switch (frame.type) {
    case FrameType::padding:
      return encode_padding(out, body.size() + frame_header_size), "padding";
    case FrameType::ping:
      return encode_ping(out), "ping";
    case FrameType::ack: {
      std::vector<AckRange> ranges;
      std::vector<TransferRange> held;
      const auto ack = decode_ack(body, ranges, held);
      REQUIRE(ack.ok());
      bytes::IntervalSet received;
      for (const AckRange& range : ack->ranges) received.insert({range.smallest.value, range.largest.value + 1});
      return encode_ack(out, 1000, ack->fields, received.intervals(), {0}, ack->held), "ack";
    }
    case FrameType::credit:
      return encode_credit(out, *decode_credit(body)), "credit";
    case FrameType::control:
      return encode_control(out, *decode_control(body)), "control";
    case FrameType::oldest_needed:
      return encode_oldest_needed(out, *decode_oldest_needed(body)), "oldest_needed";
    case FrameType::key_update:
      return encode_key_update(out, *decode_key_update(body)), "key_update";
    case FrameType::skip:
      return encode_skip(out, *decode_skip(body)), "skip";
    case FrameType::final_offset:
      return encode_final_offset(out, *decode_final_offset(body)), "final_offset";
    case FrameType::close:
      return encode_close(out, *decode_close(body)), "close";
    case FrameType::path_challenge:
      return encode_path_data(out, frame.type, *decode_path_data(body)), "path_challenge";
    case FrameType::path_response:
      return encode_path_data(out, frame.type, *decode_path_data(body)), "path_response";
    case FrameType::ecn_counts:
      return encode_ecn_counts(out, *decode_ecn_counts(body)), "ecn_counts";
    case FrameType::repair:
      return encode_repair(out, *decode_repair(body)), "repair";
  }
  return "";
}

}  // namespace

TEST_CASE("datagram vectors: every backend seals and opens them to the byte") {
  std::size_t checked = 0;
  for (const auto& record : tests::read_vector_file("datagrams/datagrams.txt")) {
    CAPTURE(record.text("name"));
    const auto datagram = record.bytes("datagram");
    const auto plaintext = record.bytes("plaintext");
    const PacketHeader header = header_of(record);
    const std::size_t size = header_size(header.type);
    const auto decoded = decode_packet_header(datagram);
    REQUIRE(decoded.ok());
    CHECK(*decoded == header);
    for (const crypto::AeadBackend* backend : crypto::aead_backends()) {
      if (to_string(backend->algorithm()) != record.text("suite")) continue;
      CAPTURE(backend->name());
      const std::uint64_t epoch = number_in(record, "epoch");
      const PacketNumber number{number_in(record, "number")};
      std::vector<std::byte> sealed(datagram.size());
      encode_packet_header(header, sealed);
      SealKeys seal(*backend, secret_at(record, epoch), 1000);
      seal.seal(number, std::span<const std::byte>(sealed).first(size), plaintext, sealed.data() + size);
      CHECK(sealed == datagram);

      OpenKeys open(*backend, secret_at(record, epoch));
      std::vector<std::byte> opened(plaintext.size());
      CHECK(open.open({}, {}, header.epoch_bits, number, std::span(datagram).first(size),
                      std::span(datagram).subspan(size), opened.data()) == OpenKeys::Outcome::opened);
      CHECK(opened == plaintext);
      ++checked;
    }
  }
  CHECK(checked >= 14);
}

TEST_CASE("datagram vectors: the frames are read, and written again to the byte") {
  for (const auto& record : tests::read_vector_file("datagrams/datagrams.txt")) {
    if (record.text("kind") != "frames") continue;
    CAPTURE(record.text("name"));
    const auto plaintext = record.bytes("plaintext");
    std::vector<std::byte> again(plaintext.size());
    bytes::WireWriter out(again);
    std::istringstream expected(record.text("frames"));
    FrameReader reader(plaintext);
    while (const auto frame = reader.next()) {
      REQUIRE(frame->ok());
      std::string name;
      expected >> name;
      CHECK(mirror(**frame, out) == name);
    }
    CHECK(out.ok());
    CHECK(again == plaintext);
  }
}

TEST_CASE("datagram vectors: the repair symbol is the erasure code's sum over the bytes that the generator says") {
  std::size_t checked = 0;
  for (const auto& record : tests::read_vector_file("datagrams/datagrams.txt")) {
    if (record.text("name") != "a repair symbol") continue;
    const auto plaintext = record.bytes("plaintext");
    const auto frame = decode_repair(std::span(plaintext).subspan(frame_header_size));
    REQUIRE(frame.ok());
    std::vector<std::vector<std::byte>> symbols;
    std::vector<erasure::Symbol> sources;
    for_each_symbol(frame->layout, [&](std::size_t slot, TransferRange range) {
      symbols.emplace_back(frame->layout.size);
      for (std::size_t at = 0; at < range.size(); ++at)
        symbols.back()[at] = static_cast<std::byte>((slot * 31 + at * 7) & 255);
      sources.push_back({static_cast<std::uint8_t>(slot), symbols.back().data()});
    });
    CHECK(sources.size() == 3);
    CHECK(frame->layout.end() - frame->layout.base == 35 * 64 + 20);
    std::vector<std::byte> sum(frame->layout.size);
    std::byte* const out[] = {sum.data()};
    erasure::ErasureCode code;
    code.encode(frame->layout.size, sources, frame->index, out);
    CHECK(std::equal(sum.begin(), sum.end(), frame->symbol.begin()));
    ++checked;
  }
  CHECK(checked == 2);
}

}  // namespace penstock::engine
