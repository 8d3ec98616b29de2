#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <limits>
#include <optional>

#include "control/client/connection.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_context.h"
#include "control/transfer/message_codec.h"
#include "tests/unit/control/client/gate_daemon.h"
#include "tests/unit/control/client/scene.h"

// A peer that passes the gate and then sends manifests that no honest one sends: to a real daemon as a client that
// pushes, to a real client as a daemon that is pulled from.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

using Manifest = std::vector<storage::ManifestEntry>;

storage::ManifestEntry entry(std::string path, storage::FileType type, std::uint64_t size = 0) {
  storage::ManifestEntry made;
  made.path = std::move(path);
  made.type = type;
  made.size = size;
  made.mode = 0755;
  if (type == storage::FileType::symlink) made.link_target = "/tmp";
  return made;
}
storage::ManifestEntry file(std::string path, std::uint64_t size = 1) {
  return entry(std::move(path), storage::FileType::regular, size);
}
storage::ManifestEntry directory(std::string path) { return entry(std::move(path), storage::FileType::directory); }
storage::ManifestEntry link(std::string path) { return entry(std::move(path), storage::FileType::symlink); }

struct HostileManifest {
  const char* what;
  Manifest entries;
};

std::vector<HostileManifest> hostile_manifests() {
  const auto top = directory("");
  auto foreign_root = file("x");
  foreign_root.root = 7;
  auto hole_beyond = file("x", 1000);
  hole_beyond.holes = {{500, 1000}};
  constexpr auto huge = std::numeric_limits<std::uint64_t>::max();
  return {
      {"a name that climbs", {top, file("../evil")}},
      {"a name that climbs from within", {top, directory("sub"), file("sub/../../evil")}},
      {"an absolute name", {top, file("/evil")}},
      {"a name twice", {top, file("a"), file("a")}},
      {"a file beneath a link", {top, link("l"), file("l/evil")}},
      {"a file beneath a file", {top, file("f"), file("f/evil")}},
      {"a file beneath a directory that was not named", {top, file("nowhere/evil")}},
      {"names out of order", {top, file("b"), file("a")}},
      {"a size beyond transfer space", {top, file("a", huge)}},
      {"sizes whose sum overflows", {top, file("a", huge / 2 + 1), file("b", huge / 2 + 1)}},
      {"a NUL in a name", {top, file(std::string("a\0b", 3))}},
      {"an empty component", {top, directory("a"), file("a//evil")}},
      {"a component that is a dot", {top, file("./evil")}},
      {"a root that was not opened", {top, foreign_root}},
      {"a hole beyond its file", {top, hole_beyond}},
  };
}

proto::Envelope segment_of(const Manifest& entries, std::uint64_t id) {
  proto::Envelope envelope;
  envelope.set_id(id);
  envelope.mutable_manifest_segment()->set_first_index(0);
  for (const auto& made : entries) encode_entry(made, *envelope.mutable_manifest_segment()->add_entries());
  return envelope;
}
proto::Envelope end_of(const Manifest& entries, std::uint64_t id) {
  proto::Envelope envelope;
  envelope.set_id(id);
  envelope.mutable_manifest_end()->set_entries(entries.size());
  std::uint64_t bytes = 0;
  for (const auto& made : entries) bytes += made.size;
  envelope.mutable_manifest_end()->set_bytes(bytes);
  return envelope;
}

/// Everything beneath, but not `except`: what must not change.
std::vector<std::string> listing(const fs::path& top, const fs::path& except) {
  std::vector<std::string> found;
  for (auto at = fs::recursive_directory_iterator{top}; at != fs::recursive_directory_iterator{}; ++at) {
    if (at->path() == except) {
      at.disable_recursion_pending();
      continue;
    }
    found.push_back(at->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Pushes `entries` as a client would, but for what they say; the daemon's last word.
std::optional<Error> push_hostile(const ClientConfig& config, const Manifest& entries, const std::string& destination) {
  asio::io_context io{1};
  auto home = must(ClientHome::open(config.home));
  auto tls = must(TlsContext::for_client());
  std::optional<Error> answer;
  const auto play = [&]() -> asio::awaitable<void> {
    auto opened = co_await async_open_session(config, home, tls);
    if (!opened) {
      answer = opened.error();
      co_return;
    }
    const auto link_kept = opened->link;
    SessionLink* const link_used = link_kept.get();
    SessionLink::Handler handler = [&answer, &entries, link_used](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (envelope.has_transfer_opened()) {
        link_used->send(segment_of(entries, 1));
        link_used->send(end_of(entries, 2));
      } else if (envelope.has_failure()) {
        answer = error_of_failure(envelope.failure());
        link_used->end(Status{});
      } else if (envelope.has_commit()) {
        answer.reset();
        link_used->end(Status{});
      }
      co_return Status{};
    };
    proto::Envelope open;
    auto* message = open.mutable_open_transfer();
    message->set_direction(proto::PUSH);
    message->set_resume_key(std::string(32, 'k'));
    message->set_destination(destination);
    message->add_roots()->set_name("there");
    message->set_overwrite(proto::NEVER);
    message->set_digest(proto::XXH3);
    message->set_udp_payload_max(1200);
    link_kept->send(std::move(open));
    const auto over = co_await link_kept->async_run(std::move(handler));
    if (!over && !answer) answer = over.error();
  };
  asio::co_spawn(io, play, asio::detached);
  io.run();
  return answer;
}

/// A daemon's gate with nothing but a hostile manifest behind it.
class HostileDaemon {
 public:
  [[nodiscard]] std::uint16_t port() const { return gate_.port(); }
  std::string token() { return gate_.token(); }
  /// For the next pull.
  void show(Manifest entries) {
    asio::post(gate_.io(), [this, kept = std::move(entries)]() mutable { entries_ = std::move(kept); });
  }

 private:
  SessionLink::Handler meet(SessionLink& link) {
    return [this, &link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      proto::Envelope reply;
      reply.mutable_transfer_opened()->set_transfer_id(std::string(16, next_transfer_++));
      reply.mutable_transfer_opened()->set_udp_payload_max(1200);
      link.send(std::move(reply));
      link.send(segment_of(entries_, 1));
      link.send(end_of(entries_, 2));
      co_return Status{};
    };
  }

  Manifest entries_;
  char next_transfer_ = 1;
  GateDaemon gate_{{.meet = [this](DaemonSession&, SessionLink& link) { return meet(link); }}};
};

}  // namespace

TEST_CASE("hostile client: the daemon refuses every manifest that lies, says so and writes nothing outside") {
  Daemon daemon;
  Person mallory{daemon};
  const fs::path target = daemon.root() / "there";
  const auto before = listing(daemon.root(), target);
  for (const auto& hostile : hostile_manifests()) {
    CAPTURE(hostile.what);
    const auto answer = push_hostile(mallory.config(daemon), hostile.entries, "/there");
    REQUIRE(answer);
    CAPTURE(answer->message);
    CHECK(answer->side == ErrorSide::remote);
    CHECK(answer->code != ErrorCode::PEER_LOST);
    CHECK(answer->message.size() > 10);
    CHECK(listing(daemon.root(), target) == before);
    CHECK_FALSE(fs::exists(daemon.root().parent_path() / "evil"));
    CHECK_FALSE(fs::exists("/tmp/evil"));
    fs::remove_all(target);
  }
  // Targets that are no path, and the root itself: before any manifest is looked at.
  for (const std::string destination : {"", "there", "/../there", "/"}) {
    CAPTURE(destination);
    const auto answer = push_hostile(mallory.config(daemon), {file("x")}, destination);
    REQUIRE(answer);
    CHECK(answer->side == ErrorSide::remote);
    CHECK(answer->code != ErrorCode::PEER_LOST);
  }
  // The daemon goes on serving, this very client included.
  TempDir work;
  write_file(work.path() / "good", "good");
  CHECK(mallory.client.push(to_target(work.path() / "good", "/good"), {}));
  CHECK(read_file(daemon.root() / "good") == "good");
}

TEST_CASE("hostile daemon: the client refuses every manifest that lies, says so and writes nothing outside") {
  HostileDaemon daemon;
  Person ann{daemon};
  for (const auto& hostile : hostile_manifests()) {
    CAPTURE(hostile.what);
    TempDir work;
    fs::create_directory(work.path() / "box");
    daemon.show(hostile.entries);
    const auto pulled =
        ann.client.pull({{{"/there", "there", false}}, (work.path() / "box" / "there").string(), false}, {});
    REQUIRE_FALSE(pulled);
    CAPTURE(pulled.error().message);
    CHECK(pulled.error().code != ErrorCode::PEER_LOST);
    CHECK(pulled.error().code != ErrorCode::UDP_BLOCKED);
    CHECK(pulled.error().message.size() > 10);
    CHECK(listing(work.path(), work.path() / "box" / "there") ==
          std::vector<std::string>{(work.path() / "box").string()});
    CHECK_FALSE(fs::exists("/tmp/evil"));
  }
}
