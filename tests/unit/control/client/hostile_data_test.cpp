#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <functional>
#include <optional>

#include "control/client/connection.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_context.h"
#include "control/transfer/message_codec.h"
#include "dataplane/engine/stream/stream_words.h"
#include "tests/unit/control/client/gate_daemon.h"
#include "tests/unit/control/client/scene.h"

// A peer that passes the gate and then breaks the rules of TCP data: to a real daemon as a client that pushes, to a
// real client as a daemon that is pushed to.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

constexpr std::uint64_t file_size = 4 * MiB;

proto::Envelope switch_of(std::uint64_t number, proto::SwitchData::Way way = proto::SwitchData::TCP) {
  proto::Envelope envelope;
  envelope.mutable_switch_data()->set_number(number);
  envelope.mutable_switch_data()->set_way(way);
  return envelope;
}
proto::Envelope data_of(std::uint64_t offset, std::size_t size, std::uint32_t lane = 0) {
  proto::Envelope envelope;
  envelope.mutable_data()->set_lane(lane);
  envelope.mutable_data()->set_offset(offset);
  envelope.mutable_data()->set_payload(std::string(size, 'x'));
  return envelope;
}
proto::Envelope ack_of(std::uint64_t messages) {
  proto::Envelope envelope;
  envelope.mutable_data_ack()->set_messages(messages);
  return envelope;
}
proto::Envelope switched_of(std::uint64_t number, int lanes = 1) {
  proto::Envelope envelope;
  envelope.mutable_data_switched()->set_number(number);
  for (int lane = 0; lane < lanes; ++lane) envelope.mutable_data_switched()->add_lanes();
  return envelope;
}

struct Pushed {
  bool ended = false;     // the daemon ended it, with a word or without
  bool switched = false;  // it answered the switch
  std::uint64_t acknowledged = 0;
};

/// Opens a push of one file under `policy`, says its manifest, then `before`; after the answer to its switch `after`.
Pushed push_with(const ClientConfig& config, proto::DataPolicy policy, std::vector<proto::Envelope> before,
                 std::vector<proto::Envelope> after) {
  asio::io_context io{1};
  auto home = must(ClientHome::open(config.home));
  auto tls = must(TlsContext::for_client());
  Pushed pushed;
  const auto play = [&]() -> asio::awaitable<void> {
    auto opened = co_await async_open_session(config, home, tls);
    if (!opened) co_return;
    const auto link_kept = opened->link;
    SessionLink* const link = link_kept.get();
    SessionLink::Handler handler = [&pushed, &before, &after,
                                    link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (envelope.has_transfer_opened()) {
        storage::ManifestEntry file;
        file.type = storage::FileType::regular;
        file.size = file_size;
        file.mode = 0644;
        proto::Envelope segment;
        segment.set_id(1);
        encode_entry(file, *segment.mutable_manifest_segment()->add_entries());
        link->send(std::move(segment));
        proto::Envelope end;
        end.set_id(2);
        end.mutable_manifest_end()->set_entries(1);
        end.mutable_manifest_end()->set_bytes(file_size);
        link->send(std::move(end));
        for (auto& message : before) link->send(std::move(message));
      } else if (envelope.has_data_switched()) {
        pushed.switched = true;
        for (auto& message : after) link->send(std::move(message));
      } else if (envelope.has_data_ack()) {
        pushed.acknowledged = envelope.data_ack().messages();
        if (pushed.acknowledged == after.size()) link->end(Status{});
      } else if (envelope.has_failure()) {
        pushed.ended = true;
        link->end(Status{});
      }
      co_return Status{};
    };
    proto::Envelope open;
    auto* message = open.mutable_open_transfer();
    message->set_direction(proto::PUSH);
    message->set_resume_key(std::string(32, 'k'));
    message->set_destination("/there");
    message->add_roots()->set_name("there");
    message->set_overwrite(proto::NEVER);
    message->set_digest(proto::XXH3);
    message->set_udp_payload_max(1200);
    message->set_data(policy);
    link_kept->send(std::move(open));
    const auto over = co_await link_kept->async_run(std::move(handler));
    if (!over) pushed.ended = true;
  };
  asio::co_spawn(io, play, asio::detached);
  io.run();
  return pushed;
}

proto::Envelope refused_push() {
  proto::Envelope envelope;
  envelope.mutable_open_transfer()->set_direction(proto::PUSH);
  envelope.mutable_open_transfer()->set_resume_key("too short");
  return envelope;
}

/// Opens a push that is refused, and goes on with `rest`; whether the daemon then still answers a request.
bool still_served(const ClientConfig& config, const std::vector<proto::Envelope>& rest) {
  asio::io_context io{1};
  auto home = must(ClientHome::open(config.home));
  auto tls = must(TlsContext::for_client());
  bool served = false;
  const auto play = [&]() -> asio::awaitable<void> {
    auto opened = co_await async_open_session(config, home, tls);
    if (!opened) co_return;
    const auto link_kept = opened->link;
    SessionLink* const link = link_kept.get();
    SessionLink::Handler handler = [&served, link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (envelope.has_stat_reply()) {
        served = true;
        link->end(Status{});
      }
      co_return Status{};
    };
    link->send(refused_push());
    for (const auto& message : rest) link->send(message);
    proto::Envelope request;
    request.mutable_stat()->set_path("/");
    link->send(std::move(request));
    (void)co_await link_kept->async_run(std::move(handler));
  };
  asio::co_spawn(io, play, asio::detached);
  io.run();
  return served;
}

}  // namespace

TEST_CASE("hostile data: after a refusal what was under way is passed over, and no more than that") {
  Daemon daemon;
  Person mallory{daemon};
  const auto config = mallory.config(daemon);
  proto::Envelope numbered;
  numbered.set_id(1);
  numbered.mutable_manifest_segment()->add_entries()->set_path(std::string(60'000, 'x'));
  const std::vector<proto::Envelope> half_of_data(40, data_of(0, 60'000));
  const std::vector<proto::Envelope> half_of_messages(40, numbered);
  CHECK(still_served(config, {}));
  CHECK(still_served(config, half_of_data));
  CHECK(still_served(config, half_of_messages));
  const auto then = [](std::vector<proto::Envelope> first, const std::vector<proto::Envelope>& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
  };
  CHECK_FALSE(still_served(config, then(half_of_data, half_of_data)));
  CHECK_FALSE(still_served(config, then(half_of_messages, half_of_data)));
  // Another refusal is not another allowance.
  CHECK_FALSE(still_served(config, then(then(half_of_data, {refused_push()}), half_of_data)));
}

TEST_CASE("hostile data: an honest source's bytes are taken, so that the rest of this page means something") {
  Daemon daemon;
  Person mallory{daemon};
  const auto pushed = push_with(mallory.config(daemon), proto::DATA_POLICY_AUTO, {switch_of(1)},
                                {data_of(0, 60'000), data_of(1 * MiB - 5, 5), data_of(60'000, 100)});
  CHECK(pushed.switched);
  CHECK_FALSE(pushed.ended);
  CHECK(pushed.acknowledged == 3);
}

TEST_CASE("hostile data: bytes that were not agreed on, or lie where none may, end the session") {
  struct Case {
    const char* what;
    proto::DataPolicy policy;
    std::vector<proto::Envelope> before;
    std::vector<proto::Envelope> after;
  };
  const auto automatic = proto::DATA_POLICY_AUTO;
  const std::vector<Case> cases{
      {"bytes before the switch", automatic, {data_of(0, 10)}, {}},
      {"a switch by a client that asked for UDP", proto::DATA_POLICY_UDP, {switch_of(1)}, {}},
      {"a switch by a client that said nothing", proto::DATA_POLICY_UNSPECIFIED, {switch_of(1)}, {}},
      {"a switch whose number is not the next", automatic, {switch_of(2)}, {}},
      {"a switch to nowhere", automatic, {switch_of(1, proto::SwitchData::WAY_UNSPECIFIED)}, {}},
      {"UDP where TCP alone was asked for", proto::DATA_POLICY_TCP, {switch_of(1, proto::SwitchData::UDP)}, {}},
      {"an answer instead of a question", automatic, {switched_of(1)}, {}},
      {"an acknowledgement by who sends", automatic, {switch_of(1)}, {ack_of(0)}},
      {"no bytes", automatic, {switch_of(1)}, {data_of(0, 0)}},
      {"too many bytes", automatic, {switch_of(1)}, {data_of(0, engine::stream_payload_max + 1)}},
      {"a lane that is not there", automatic, {switch_of(1)}, {data_of(0, 1, 1)}},
      {"bytes behind the manifest's end", automatic, {switch_of(1)}, {data_of(file_size, 1)}},
      {"bytes behind the end of all space", automatic, {switch_of(1)}, {data_of(~std::uint64_t{0}, 1)}},
      {"bytes across a slab", automatic, {switch_of(1)}, {data_of(1 * MiB - 1, 2)}},
  };
  Daemon daemon;
  Person mallory{daemon};
  for (const auto& hostile : cases) {
    CAPTURE(hostile.what);
    const auto pushed = push_with(mallory.config(daemon), hostile.policy, hostile.before, hostile.after);
    CHECK(pushed.ended);
    CHECK_FALSE(fs::exists(daemon.root() / "there"));
  }
  TempDir work;
  write_file(work.path() / "good", "good");
  TransferOptions by_tcp;
  by_tcp.data = DataKind::tcp;
  CHECK(mallory.client.push(to_target(work.path() / "good", "/good"), by_tcp));
  CHECK(read_file(daemon.root() / "good") == "good");
}

TEST_CASE("hostile data: a daemon that breaks the rules fails the command, once") {
  struct Case {
    const char* what;
    std::vector<proto::Envelope> messages;
  };
  const std::vector<Case> cases{
      {"bytes to who sends them", {data_of(0, 1)}},
      {"a switch by who receives", {switch_of(1)}},
      {"an answer to a switch that was none", {switched_of(7)}},
      {"an answer for more lanes than there are", {switched_of(1, 2)}},
      {"an answer without lanes", {switched_of(1, 0)}},
  };
  const Case* now = nullptr;
  char next_transfer = 1;
  GateDaemon daemon{{.meet = [&](DaemonSession&, SessionLink& link) -> SessionLink::Handler {
    return [&](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      proto::Envelope reply;
      reply.mutable_transfer_opened()->set_transfer_id(std::string(16, next_transfer++));
      reply.mutable_transfer_opened()->set_udp_payload_max(1200);
      reply.mutable_transfer_opened()->set_data(envelope.open_transfer().data());
      link.send(std::move(reply));
      for (const auto& message : now->messages) link.send(message);
      co_return Status{};
    };
  }}};
  Person ann{daemon};
  TempDir work;
  write_file(work.path() / "file", "some bytes");
  for (const auto& hostile : cases) {
    CAPTURE(hostile.what);
    now = &hostile;
    TransferOptions by_tcp;
    by_tcp.data = DataKind::tcp;
    const auto pushed = ann.client.push(to_target(work.path() / "file", "/there"), by_tcp);
    REQUIRE_FALSE(pushed);
    CHECK(pushed.error().code == ErrorCode::INTERNAL);
    CHECK(pushed.error().side == ErrorSide::remote);
  }
}

TEST_CASE("hostile data: a daemon that is older has UDP alone, and --data tcp is refused with a sentence") {
  GateDaemon daemon{{.meet = [](DaemonSession&, SessionLink& link) -> SessionLink::Handler {
    return [&link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      proto::Envelope reply;
      reply.mutable_transfer_opened()->set_transfer_id(std::string(16, 't'));
      reply.mutable_transfer_opened()->set_udp_payload_max(1200);
      link.send(std::move(reply));
      co_return Status{};
    };
  }}};
  Person ann{daemon};
  TempDir work;
  write_file(work.path() / "file", "some bytes");
  TransferOptions by_tcp;
  by_tcp.data = DataKind::tcp;
  const auto pushed = ann.client.push(to_target(work.path() / "file", "/there"), by_tcp);
  REQUIRE_FALSE(pushed);
  CHECK(pushed.error().code == ErrorCode::VERSION_MISMATCH);
}
