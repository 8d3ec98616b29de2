#include "control/gate/envelope.h"

#include <doctest/doctest.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/bytes/view.h"
#include "common/unique_fd.h"
#include "control/gate/framing.h"

// An executable of its own: what is promised holds from before main, and other tests would parse first.

using namespace penstock;
using namespace penstock::control;

namespace {

namespace pb = google::protobuf;

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 0x7f; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

/// A field of length-delimited wire type: the protobuf encoding guide calls it LEN.
std::string field(int number, const std::string& content) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(content.size()) + content;
}

struct Malformed {
  std::string what;  // the path to the field
  std::string bytes;
};

/// One message for each text field that an Envelope can hold at any depth, in which that text is not UTF-8.
void collect(const pb::Descriptor& message, const std::string& path, int depth, std::vector<Malformed>& out) {
  REQUIRE(depth < 8);  // a message that holds itself would need another way to end
  for (int i = 0; i < message.field_count(); ++i) {
    const auto& f = *message.field(i);
    const std::string here = path + "." + f.name();
    if (f.type() == pb::FieldDescriptor::TYPE_STRING) out.push_back({here, field(f.number(), "a\xff\xfe")});
    if (f.type() != pb::FieldDescriptor::TYPE_MESSAGE) continue;
    std::vector<Malformed> inner;
    collect(*f.message_type(), here, depth + 1, inner);
    for (auto& made : inner) out.push_back({made.what, field(f.number(), made.bytes)});
  }
}

std::vector<Malformed> texts_that_are_not_utf8() {
  std::vector<Malformed> out;
  collect(*proto::Envelope::descriptor(), "Envelope", 0, out);
  REQUIRE(out.size() > 10);
  return out;
}

std::string framed(const std::string& body) {
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(body.size() >> shift & 0xff);
  return frame + body;
}

/// Everything that takes a peer's bytes.
void offer_everywhere(const std::string& bytes) {
  (void)decode_envelope(bytes::as_bytes(bytes));
  for (const bool proven : {false, true}) {
    for (const std::string& stream : {framed(bytes), bytes}) {
      FrameDecoder decoder;
      if (proven) decoder.set_proven();
      decoder.feed(bytes::as_bytes(stream));
      for (auto polled = decoder.poll(); polled && *polled; polled = decoder.poll()) {
      }
    }
  }
}

/// What the process writes on descriptor 2 meanwhile, whoever writes it.
class StderrWatch {
 public:
  StderrWatch() : file_(std::tmpfile()), before_(::dup(STDERR_FILENO)) {
    REQUIRE(file_ != nullptr);
    REQUIRE(before_);
    std::fflush(stderr);
    REQUIRE(::dup2(::fileno(file_), STDERR_FILENO) == STDERR_FILENO);
  }
  ~StderrWatch() {
    restore();
    std::fclose(file_);
  }
  StderrWatch(const StderrWatch&) = delete;
  StderrWatch& operator=(const StderrWatch&) = delete;

  std::string text() {
    restore();
    std::string out(65536, '\0');
    std::rewind(file_);
    out.resize(std::fread(out.data(), 1, out.size(), file_));
    return out;
  }

 private:
  void restore() {
    if (!before_) return;
    std::fflush(stderr);
    ::dup2(before_.get(), STDERR_FILENO);
    before_.reset();
  }
  std::FILE* file_;
  UniqueFd before_;
};

unsigned printed = 0;
void count_printed(pb::LogLevel, const char*, int, const std::string&) { ++printed; }

/// The library prints while this lives, through a counter: what it would have said.
class Loud {
 public:
  Loud() : before_(pb::SetLogHandler(count_printed)) { printed = 0; }
  ~Loud() { pb::SetLogHandler(before_); }
  Loud(const Loud&) = delete;
  Loud& operator=(const Loud&) = delete;

 private:
  pb::LogHandler* before_;
};

}  // namespace

// The first test of the executable: nothing has been parsed yet, and nobody has been asked to.
TEST_CASE("envelope: the library is silent before anything can have been parsed") {
  // Its own word for "silent already".
  const bool silent_already = pb::SetLogHandler(nullptr) == nullptr;
  CHECK(silent_already);
}

TEST_CASE("envelope: whatever a peer sends, the daemon's stderr stays empty") {
  const auto malformed = texts_that_are_not_utf8();
  StderrWatch watch;
  for (const auto& message : malformed) {
    for (std::size_t size = 0; size <= message.bytes.size(); ++size) offer_everywhere(message.bytes.substr(0, size));
  }
  std::mt19937 random{5};
  for (int round = 0; round < 5000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    offer_everywhere(bytes);
  }
  // What we were told and pass on: the same library complains when it writes.
  proto::Envelope echo;
  echo.mutable_failure()->set_message("a\xff\xfe");
  CHECK(encode_frame(echo).size() > frame_prefix_size);
  const auto text = watch.text();
  CHECK(text == "");
}

TEST_CASE("envelope: text that is not UTF-8 is refused wherever it stands, and would have been printed each time") {
  for (const auto& message : texts_that_are_not_utf8()) {
    CAPTURE(message.what);
    const Loud loud;
    CHECK_FALSE(decode_envelope(bytes::as_bytes(message.bytes)));
    CHECK(printed == 1);
    FrameDecoder decoder;
    decoder.feed(bytes::as_bytes(framed(message.bytes)));
    CHECK(decoder.poll().error() == FrameError::malformed);
    CHECK(printed == 2);
  }
}
