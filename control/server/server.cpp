#include "control/server/server.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>

#include "common/crypto/random.h"
#include "common/escape.h"
#include "common/path/beneath.h"
#include "control/gate/capabilities.h"
#include "control/gate/daemon_exchange.h"
#include "control/gate/fec_words.h"
#include "control/registry/sqlite_registry.h"
#include "control/server/registry_watch.h"
#include "control/server/server_session.h"
#include "control/session/async_blocking.h"
#include "control/session/contained.h"
#include "control/session/fast_path_words.h"
#include "control/session/wall_clock.h"
#include "dataplane/io/early_datagrams.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::control {
namespace {

using asio::ip::tcp;

constexpr auto partial_sweep = std::chrono::hours{1};
// Tuning: of a client that has not proven itself; a first flight of 64 packets, its manifest, and some room. Of the
// part of a worker's memory that such clients have to themselves.
constexpr std::size_t unproven_bytes_early_max = io::EarlyDatagrams::small_max;
// Tuning: oftener costs a walk over the heaps between two transfers of one client, less often keeps what nobody uses.
constexpr auto memory_looked_at = std::chrono::seconds{2};

Error config_error(std::string message, const std::filesystem::path& path) {
  return {ErrorCode::CONFIG_INVALID, std::move(message), path.string()};
}

/// Is `inner` at or beneath `outer`? Both canonical.
bool at_or_beneath(const std::filesystem::path& inner, const std::filesystem::path& outer) {
  const auto [mismatch, unused] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  (void)unused;
  return mismatch == outer.end();
}

Status check_directories(ServerConfig& config) {
  std::error_code failed;
  if (config.root.empty()) return config_error("no directory to serve is named; write --root DIR", config.root);
  const auto root = std::filesystem::canonical(config.root, failed);
  if (failed)
    return config_error("the root " + escape_for_display(config.root.string()) +
                            " can not be opened: " + failed.message() + "; create it or name another with --root",
                        config.root);
  if (!std::filesystem::is_directory(root, failed))
    return config_error("the root " + escape_for_display(config.root.string()) + " is not a directory", config.root);
  if (!std::filesystem::exists(config.state, failed)) {
    // Parents get the usual mode; the state itself is its owner's alone.
    std::filesystem::create_directories(config.state.parent_path(), failed);
    if (::mkdir(config.state.c_str(), 0700) != 0 && errno != EEXIST)
      return error_from_errno(errno, "create the state directory", config.state.string());
  }
  const auto state = std::filesystem::canonical(config.state, failed);
  if (failed || !std::filesystem::is_directory(state, failed))
    return config_error("the state directory " + escape_for_display(config.state.string()) +
                            " can not be used; name another with --state",
                        config.state);
  if (at_or_beneath(state, root) || at_or_beneath(root, state))
    return config_error(
        "the state directory and the root lie within each other, so clients could reach the daemon's "
        "keys; name another with --state",
        config.state);
  config.root = root;
  config.state = state;
  return {};
}

std::string bracketed(const ListenAddress& address) {
  const bool v6 = address.address.find(':') != std::string::npos;
  return (v6 ? "[" + address.address + "]" : address.address) + ":" + std::to_string(address.port);
}

}  // namespace

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "info";
}

struct Server::Impl {
  Impl(ServerConfig configuration, ServerObserver& observer) : state(std::move(configuration), observer) {}

  DaemonState state;
  std::vector<tcp::acceptor> acceptors;
  std::vector<ListenAddress> addresses;
  std::optional<RegistryWatch> watch;
  bool stopping = false;

  Status prepare();
  Status bind();
  void tell_fast_paths();
  Result<tcp::acceptor> bind_tcp(const io::Endpoint& local);
  DaemonOffer make_offer(std::size_t listener);
  asio::awaitable<void> accept_loop(std::size_t listener);
  asio::awaitable<void> serve_socket(tcp::socket socket, std::size_t listener, WaitingRoom::Ticket guest);
  asio::awaitable<Status> serve_session(ServerSession& session);
  asio::awaitable<void> watch_registry();
  asio::awaitable<void> give_memory_back();
  asio::awaitable<void> sweep_partials();
  asio::awaitable<void> shut_down();
  void on_stop();
};

Status Server::Impl::prepare() {
  auto& config = state.config;
  if (auto status = check_directories(config); !status) return status;
  auto root = path::open_trusted_directory(config.root.string());
  if (!root) return root.error();
  state.root = std::move(*root);
  if (config.cert_file.has_value() != config.key_file.has_value())
    return config_error("--cert and --key belong together: give both or none", {});
  auto identity =
      config.cert_file ? Identity::load(*config.cert_file, *config.key_file) : Identity::load_or_create(config.state);
  if (!identity) return identity.error();
  state.identity.emplace(std::move(*identity));
  auto receipt_key = ReceiptKey::load_or_create(config.state, *state.identity);
  if (!receipt_key) return receipt_key.error();
  state.receipt_key.emplace(std::move(*receipt_key));
  auto tls = TlsContext::for_daemon(*state.identity);
  if (!tls) return tls.error();
  state.tls.emplace(std::move(*tls));
  auto registry = open_sqlite_registry(config.state);
  if (!registry) return registry.error();
  state.registry = std::move(*registry);
  watch.emplace(*state.registry);
  state.receipts.emplace(ReceiptStore::of_state(config.state));
  auto journals = storage::JournalStore::open((config.state / "journals").string());
  if (!journals) return journals.error();
  state.journals = std::move(*journals);

  storage::SlabPoolConfig slabs;
  slabs.slabs_max = std::max<std::size_t>(slabs.slabs_max, config.transfers_max * slabs.guaranteed + slabs.shared);
  state.slabs = std::make_unique<storage::SlabPool>(slabs);
  state.requests = std::make_unique<storage::StorageExecutor>(request_threads);
  const std::size_t workers = config.workers ? *config.workers : io::WorkerGroup::workers_default();
  if (workers == 0 || workers > io::WorkerGroup::workers_max)
    return config_error("workers: there can be 1 to " + std::to_string(io::WorkerGroup::workers_max), {});
  config.workers = static_cast<std::uint32_t>(workers);
  state.transfers = std::make_unique<storage::StorageExecutor>(std::max(transfer_threads_min, workers));
  state.signer = std::make_unique<HandshakeExecutor>();

  if (config.discard)
    state.log(
        LogLevel::warning, "discarding",
        "BENCHMARK MODE: whatever clients push is thrown away, and nothing is stored; never serve users like this");

  auto& gate = state.gatekeeper;
  gate.registry = state.registry.get();
  gate.signer = state.signer.get();
  gate.wall_clock = [] { return UnixSeconds{unix_now()}; };
  gate.monotonic_clock = [] { return io::monotonic_now(); };
  gate.log = [this](std::string_view line) { state.log(LogLevel::info, "gate", line); };
  return {};
}

Result<tcp::acceptor> Server::Impl::bind_tcp(const io::Endpoint& local) {
  sockaddr_storage raw{};
  const socklen_t length = local.to_sockaddr(raw);
  tcp::endpoint endpoint;
  endpoint.resize(length);
  std::memcpy(endpoint.data(), &raw, length);
  std::error_code failed;
  tcp::acceptor acceptor{state.io};
  const auto step = [&](auto act) {
    if (!failed) act();
  };
  step([&] { acceptor.open(endpoint.protocol(), failed); });
  step([&] { acceptor.set_option(tcp::acceptor::reuse_address{true}, failed); });
  if (endpoint.protocol() == tcp::v6())
    step([&] { acceptor.set_option(asio::ip::v6_only{!local.is_wildcard()}, failed); });
  step([&] { acceptor.bind(endpoint, failed); });
  step([&] { acceptor.listen(asio::socket_base::max_listen_connections, failed); });
  if (failed) return Error{ErrorCode::IO_ERROR, "cannot bind tcp " + local.to_string() + ": " + failed.message()};
  return acceptor;
}

Status Server::Impl::bind() {
  auto wanted = state.config.listen;
  if (wanted.empty()) wanted.push_back({"::", 7440});
  io::WorkerGroupConfig group;
  group.workers = *state.config.workers;
  group.steering = state.config.udp_steering ? io::UdpSteering::automatic : io::UdpSteering::off;
  io::WorkerConfig& worker = group.worker;
  worker.busy_poll = state.config.busy_poll;
  worker.socket.gso = state.config.udp_offload;
  worker.socket.gro = state.config.udp_offload;
  for (const auto& address : wanted) {
    const auto endpoint = io::Endpoint::parse(bracketed(address));
    if (!endpoint)
      return Error{ErrorCode::CONFIG_INVALID, escape_for_display(bracketed(address)) +
                                                  " is no address to listen on; "
                                                  "write ADDR:PORT with a numeric address"};
    worker.listen.push_back(*endpoint);
  }
  // Port 0 needs one number free for both: TCP is tried as soon as UDP has one.
  std::vector<std::pair<io::Endpoint, tcp::acceptor>> companions;
  worker.bind_companion = [&](const io::Endpoint& bound) {
    auto acceptor = bind_tcp(bound);
    if (!acceptor) return false;
    companions.emplace_back(bound, std::move(*acceptor));
    return true;
  };
  auto created = io::WorkerGroup::create(group);
  if (!created) return created.error();
  state.workers = std::move(*created);
  for (std::size_t i = 0; i < state.workers->size(); ++i)
    state.doors.push_back(std::make_shared<WorkerDoor>(state.workers->at(i)));
  state.lanes.emplace(state.workers->size(), [] { return crypto::random_u64(); });
  for (const auto& endpoint : state.workers->local_endpoints()) {
    const auto found = std::ranges::find(companions, endpoint, [](const auto& pair) { return pair.first; });
    if (found != companions.end()) {
      acceptors.push_back(std::move(found->second));
    } else {
      auto acceptor = bind_tcp(endpoint);
      if (!acceptor) return acceptor.error();
      acceptors.push_back(std::move(*acceptor));
    }
    addresses.push_back({endpoint.address_string(), endpoint.port()});
  }
  // Who reads of one address goes by all of them: not a word before the last is bound.
  for (const auto& endpoint : state.workers->local_endpoints())
    state.observer.on_listening(endpoint.to_string(), to_string(state.identity->pin()));
  tell_fast_paths();
  return {};
}

void Server::Impl::tell_fast_paths() {
  const auto paths = state.workers->fast_paths();
  std::string words;
  for (const auto& word : fast_path_words(paths)) words.append(words.empty() ? "" : " ").append(word);
  state.log(LogLevel::info, "fast_paths", words);
  if (!state.workers->trouble().empty())
    state.log(LogLevel::warning, "workers_limited",
              "the kernel does not let workers share a port as they should: " +
                  escape_for_display(state.workers->trouble(), 256) + "; everything works, on fewer cores");
  if (const auto hint = io::buffer_hint(paths)) state.log(LogLevel::warning, "udp_buffers_small", *hint);
}

DaemonOffer Server::Impl::make_offer(std::size_t listener) {
  DaemonOffer offer;
  offer.identity = &*state.identity;
  offer.receipt_key = &*state.receipt_key;
  const ConnectionId own = state.lanes->reserve(io::monotonic_now());
  offer.connection_ids = {own};
  offer.udp_port = addresses[listener].port;
  if (state.config.udp_advertise) {
    offer.udp_host = state.config.udp_advertise->host;
    offer.udp_port = state.config.udp_advertise->port;
  }
  offer.software = "penstockd 0.1.0";
  offer.capabilities = {std::string{capability_fec}};
  // A cap holds from the first byte on, so its client has to hear of it first.
  if (!state.config.rate_cap) {
    offer.capabilities.emplace_back(capability_ahead);
    state.worker_of(own).await_lane(own, unproven_bytes_early_max);
  }
  return offer;
}

asio::awaitable<void> Server::Impl::accept_loop(std::size_t listener) {
  auto& acceptor = acceptors[listener];
  while (acceptor.is_open()) {
    std::error_code failed;
    auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, failed));
    if (stopping) break;
    if (failed) {
      // Out of descriptors, most likely: waiting is the only thing that helps.
      asio::steady_timer pause{state.io, std::chrono::milliseconds{100}};
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, failed));
      continue;
    }
    UniqueFd own{::fcntl(socket.native_handle(), F_DUPFD_CLOEXEC, 0)};
    if (!own || !state.waiting.has_room()) {
      socket.close(failed);  // too many strangers: no word for this one costs least
      ++state.gatekeeper.counters.penstock_gate_busy_total;
      continue;
    }
    const auto peer = socket.remote_endpoint(failed);
    const auto guest = state.waiting.enter(prefix_of(peer), std::move(own));
    asio::co_spawn(state.io, serve_socket(std::move(socket), listener, guest), asio::detached);
  }
}

asio::awaitable<void> Server::Impl::serve_socket(tcp::socket socket, std::size_t listener, WaitingRoom::Ticket guest) {
  std::vector<ConnectionId> reserved;
  // Named: g++ 12 destroys a temporary's captures twice when it is converted inside a co_await expression.
  std::function<DaemonOffer()> offered = [this, listener, &reserved] {
    auto offer = make_offer(listener);
    reserved = offer.connection_ids;
    offer.one_more_id = [this, &reserved]() -> std::optional<ConnectionId> {
      if (reserved.size() == state.workers->size()) return std::nullopt;
      return reserved.emplace_back(state.lanes->reserve(io::monotonic_now()));
    };
    return offer;
  };
  auto place = state.sessions.end();
  const auto meet = [&]() -> asio::awaitable<Status> {
    auto admitted = co_await async_admit(std::move(socket), *state.tls, state.gatekeeper, std::move(offered));
    if (!admitted) co_return Status{};
    place = state.sessions.insert(place, std::make_shared<ServerSession>(state, std::move(*admitted)));
    co_return Status{};
  };
  // Whatever happens inside, what is taken here is given back here.
  auto served = co_await async_contained(meet());
  state.waiting.leave(guest);
  state.changed.notify();
  if (place != state.sessions.end()) {
    served = co_await async_contained(serve_session(**place));
    state.sessions.erase(place);
  }
  for (const auto id : reserved) state.release(id);
  state.changed.notify();
  if (!served) state.log(LogLevel::error, "connection_failed", escape_for_display(served.error().message, 256));
}

asio::awaitable<Status> Server::Impl::serve_session(ServerSession& session) {
  watch->on_joined(session);
  if (state.draining) {
    session.end({ErrorCode::DRAINING, "the daemon is shutting down; try again later"});
  } else if (state.sessions.size() > state.config.sessions_max) {  // with this one
    session.end({ErrorCode::SERVER_BUSY, "the daemon serves as many clients as it may; try again later"});
  }
  co_await session.async_serve();
  co_return Status{};
}

asio::awaitable<void> Server::Impl::watch_registry() {
  while (!stopping) {
    asio::steady_timer pause{state.io, RegistryWatch::period};
    std::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    const auto sessions = state.sessions;
    watch->poll(sessions);
  }
}

asio::awaitable<void> Server::Impl::give_memory_back() {
  // What a crowd of transfers freed lies in the allocator in pieces; it goes back to the system when the crowd is gone.
  bool busy = false;
  while (!stopping) {
    asio::steady_timer pause{state.io, memory_looked_at};
    std::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    const bool was_busy = std::exchange(busy, state.places.take_news() || !state.places.empty());
#ifdef __GLIBC__
    if (was_busy && !busy) {
      const auto trim = [] { return ::malloc_trim(0); };
      (void)co_await async_blocking(*state.requests, trim);  // a walk over all heaps: not on the thread of the gate
    }
#else
    (void)was_busy;
#endif
  }
}

asio::awaitable<void> Server::Impl::sweep_partials() {
  while (!stopping) {
    const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(state.config.partial_ttl);
    const auto sweep = [this, ttl] {
      return state.journals->expire(unix_now() * 1'000'000'000, ttl,
                                    [this](const storage::TransferIdentity&) -> Result<UniqueFd> {
                                      return path::open_trusted_directory(state.config.root.string());
                                    });
    };
    auto swept = co_await async_blocking(*state.requests, sweep);
    if (!swept) {
      state.log(LogLevel::warning, "partials_not_swept", escape_for_display(swept.error().message, 256));
    } else if (*swept > 0) {
      state.log(LogLevel::info, "partials_expired", "abandoned partial files were removed",
                {{"count", std::to_string(*swept)}});
    }
    asio::steady_timer pause{state.io, partial_sweep};
    std::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

void Server::Impl::on_stop() {
  if (!state.draining) {
    state.draining = true;
    state.log(LogLevel::info, "draining", "shutting down: running transfers may finish");
    asio::co_spawn(state.io, shut_down(), asio::detached);
  } else {
    stopping = true;
  }
  state.changed.notify();
}

asio::awaitable<void> Server::Impl::shut_down() {
  const auto deadline = std::chrono::steady_clock::now() + state.config.drain_timeout;
  while (!stopping && !state.places.empty() && std::chrono::steady_clock::now() < deadline)
    co_await state.changed.async_wait(std::chrono::milliseconds{200});
  stopping = true;
  for (auto& acceptor : acceptors) {
    std::error_code ignored;
    acceptor.close(ignored);
  }
  const auto sessions = state.sessions;
  for (const auto& session : sessions)
    session->end({ErrorCode::DRAINING, "the daemon is shutting down; the same command again resumes"});
  // Sessions make durable what has arrived; a stranger's handshake is not waited for.
  while (!state.sessions.empty()) co_await state.changed.async_wait(std::chrono::milliseconds{200});
  state.io.stop();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerConfig config, ServerObserver& observer) {
  auto impl = std::make_unique<Impl>(std::move(config), observer);
  if (auto status = impl->prepare(); !status) return status.error();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Status Server::bind() { return impl_->bind(); }

Status Server::run() {
  auto& impl = *impl_;
  for (std::size_t i = 0; i < impl.acceptors.size(); ++i)
    asio::co_spawn(impl.state.io, impl.accept_loop(i), asio::detached);
  asio::co_spawn(impl.state.io, impl.watch_registry(), asio::detached);
  asio::co_spawn(impl.state.io, impl.sweep_partials(), asio::detached);
  asio::co_spawn(impl.state.io, impl.give_memory_back(), asio::detached);
  impl.state.io.run();
  impl.state.log(LogLevel::info, "stopped", "all sessions are over");
  return {};
}

void Server::request_stop() {
  asio::post(impl_->state.io, [this] { impl_->on_stop(); });
}

const std::vector<ListenAddress>& Server::addresses() const { return impl_->addresses; }
std::string Server::fingerprint() const { return to_string(impl_->state.identity->pin()); }

}  // namespace penstock::control
