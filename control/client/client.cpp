#include "control/client/client.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/client/busy_retry.h"
#include "control/client/connection.h"
#include "control/client/ping.h"
#include "control/client/questions.h"
#include "control/client/transfer_command.h"

namespace penstock::control {
namespace {

// Specification: a signal ends the command within 2 s (CLI.md section 3); what is left of them is the exit itself.
constexpr Duration stop_grace = std::chrono::milliseconds{1500};

std::string signal_name(int signal) {
  switch (signal) {
    case SIGINT:
      return "an interrupt (Ctrl-C)";
    case SIGTERM:
      return "a termination signal";
    case SIGHUP:
      return "the terminal's hang-up";
    default:
      return "signal " + std::to_string(signal);
  }
}

io::WorkerConfig worker_config(const ClientConfig& config) {
  io::WorkerConfig worker;
  worker.socket.gso = config.udp_offload;
  worker.socket.gro = config.udp_offload;
  return worker;
}

EntryKind kind_of(proto::FileType type) {
  switch (type) {
    case proto::DIRECTORY:
      return EntryKind::directory;
    case proto::SYMLINK:
      return EntryKind::symlink;
    case proto::REGULAR:
      return EntryKind::regular;
    default:
      return EntryKind::special;
  }
}

RemoteEntry entry_of(const proto::FileInfo& info) {
  return {.name = info.name(),
          .kind = kind_of(info.type()),
          .size = info.size(),
          .mode = info.mode() & 0777,
          .mtime_ns = info.mtime_ns(),
          .link_target = info.link_target()};
}

}  // namespace

std::string_view to_string(FileAction action) {
  switch (action) {
    case FileAction::send:
      return "send";
    case FileAction::skip:
      return "skip";
    case FileAction::replace:
      return "replace";
    case FileAction::refuse:
      return "refuse";
  }
  return "send";
}

std::string_view to_string(EntryKind kind) {
  switch (kind) {
    case EntryKind::regular:
      return "file";
    case EntryKind::directory:
      return "directory";
    case EntryKind::symlink:
      return "symlink";
    case EntryKind::special:
      return "special";
  }
  return "special";
}

/// What one call needs and lets go of when it ends; destroyed from the last member to the first.
struct Call {
  asio::io_context io{1};
  AsyncEvent nudge{io.get_executor()};
  std::optional<ClientHome> home;
  std::optional<TlsContext> tls;
  bool progress_requested = false;

  Status prepare(const ClientConfig& config) {
    auto opened = ClientHome::open(config.home);
    if (!opened) return opened.error();
    home.emplace(std::move(*opened));
    auto context = TlsContext::for_client();
    if (!context) return context.error();
    tls.emplace(std::move(*context));
    return {};
  }
};

/// All that one push or pull needs, from its first connection until its user has been told.
struct Client::Transferring {
  Transferring(std::shared_ptr<Impl> client, TransferWords asked, TransferOptions chosen)
      : impl(std::move(client)), words(std::move(asked)), options(std::move(chosen)) {}
  Transferring(const Transferring&) = delete;
  Transferring& operator=(const Transferring&) = delete;
  ~Transferring() {
    if (door) door->close();
    for (const auto& more : more_workers) more.door->close();
    worker.reset();
    more_workers.clear();
    threads.reset();
  }

  const std::shared_ptr<Impl> impl;
  const TransferWords words;
  const TransferOptions options;
  storage::SlabPool slabs;
  storage::TargetClaims claims;
  std::unique_ptr<storage::JournalStore> journals;
  // A command cut short leaves suspended coroutines in its event loop; they hold slabs and journals.
  Call call;
  std::unique_ptr<storage::StorageExecutor> threads;
  std::unique_ptr<io::Worker> worker;
  std::shared_ptr<WorkerDoor> door;
  std::vector<ClientWorker> more_workers;
  std::optional<ClientMachinery> machinery;
  std::optional<TransferCommand> command;
};

struct Client::Impl : std::enable_shared_from_this<Impl> {
  Impl(ClientConfig configuration, Observer& listener) : config(std::move(configuration)), observer(listener) {}

  ClientConfig config;
  Observer& observer;
  std::mutex mutex;  // guards the three below: signals come from another thread
  Call* call = nullptr;
  int stops = 0;
  int signal = 0;
  bool stop_requested = false;  // the event loop's own copy
  bool graceful = false;        // the running call ends by itself when stop_requested

  Error interrupted() {
    const std::lock_guard lock{mutex};
    return {ErrorCode::INTERRUPTED, "ended by " + signal_name(signal) + "; the same command again resumes"};
  }

  /// Runs one operation to its end, or until a stop cuts it short.
  template <class T>
  Result<T> run(Call& current, asio::awaitable<Result<T>> operation, bool ends_gracefully) {
    {
      const std::lock_guard lock{mutex};
      call = &current;
      stop_requested = stops > 0;
      graceful = ends_gracefully;
      if (stops > 0) {
        call = nullptr;
        return Error{ErrorCode::INTERRUPTED, "ended by " + signal_name(signal)};
      }
    }
    std::optional<Result<T>> result;
    std::exception_ptr thrown;
    asio::co_spawn(
        current.io,
        [](asio::awaitable<Result<T>> work, std::optional<Result<T>>& kept) -> asio::awaitable<void> {
          kept.emplace(co_await std::move(work));
        }(std::move(operation), result),
        [&](std::exception_ptr failed) {
          thrown = failed;
          current.io.stop();
        });
    current.io.run();
    {
      const std::lock_guard lock{mutex};
      call = nullptr;
    }
    if (thrown) return Error{ErrorCode::INTERNAL, "an unexpected failure; please report it"};
    if (!result) return interrupted();
    if (!*result && result->error().code == ErrorCode::INTERRUPTED) return interrupted();
    return std::move(*result);
  }

  /// On the event loop.
  void on_stop(Call& current, int count) {
    stop_requested = true;
    current.nudge.notify();
    if (!graceful || count > 1) return current.io.stop();
    auto timer = std::make_shared<asio::steady_timer>(current.io, stop_grace);
    timer->async_wait([&current, timer](std::error_code) { current.io.stop(); });
  }

  /// One request on a session of its own.
  template <class T, class Use>
  Result<T> ask(Use use) {
    Call current;
    if (auto ready = current.prepare(config); !ready) return ready.error();
    return run<T>(current, ask_on_session<T>(current, std::move(use)), false);
  }
  template <class T, class Use>
  asio::awaitable<Result<T>> ask_on_session(Call& current, Use use) {
    // A daemon that is full says so before it has heard a question, or is asked for nothing that it has begun.
    std::function<asio::awaitable<Result<T>>(const ClientConfig&)> attempt =
        [this, &current, &use](const ClientConfig& allowed) -> asio::awaitable<Result<T>> {
      auto opened = co_await async_open_session(allowed, *current.home, *current.tls);
      if (!opened) co_return opened.error();
      tell_connected(*opened);
      Questions questions{opened->link};
      Result<T> result = co_await use(questions, *opened);
      co_await questions.async_close();
      co_return std::move(result);
    };
    co_return co_await async_while_busy<T>(config, observer, std::move(attempt));
  }

  void tell_connected(const OpenedSession& opened) {
    Connected connected;
    connected.peer = shown_address(config);
    const auto& remote = opened.link->channel().remote();
    connected.address = endpoint_of(remote, remote.port()).to_string();
    connected.software = opened.session.agreement.peer_software;
    connected.user = opened.session.user;
    connected.fingerprint = to_string(opened.daemon.pin);
    observer.on_connected(connected);
    if (opened.registered_now) observer.on_registered(to_string(opened.daemon.uuid));
  }

  Result<TransferSummary> transfer(ReceiptOperation operation, const TransferWords& words,
                                   const TransferOptions& options);
  void say_farewell(Transferring& transfer);
};

Result<TransferSummary> Client::Impl::transfer(ReceiptOperation operation, const TransferWords& words,
                                               const TransferOptions& options) {
  if (auto made = ClientHome::open(config.home); !made) return made.error();
  auto current = std::make_unique<Transferring>(shared_from_this(), words, options);
  auto journals = storage::JournalStore::open((config.home / "journals").string());
  if (!journals) return journals.error();
  current->journals = std::move(*journals);
  if (auto ready = current->call.prepare(config); !ready) return ready.error();
  current->threads = std::make_unique<storage::StorageExecutor>();
  auto worker = io::Worker::create(worker_config(config));
  if (!worker) return worker.error();
  current->worker = std::move(*worker);
  current->door = std::make_shared<WorkerDoor>(*current->worker);
  // A socket each, so that the lanes are different flows to whatever spreads flows over processors.
  for (std::size_t lane = 1; lane < options.lanes; ++lane) {
    auto more = io::Worker::create(worker_config(config));
    if (!more) return more.error();
    auto door = std::make_shared<WorkerDoor>(**more);
    current->more_workers.push_back({std::move(*more), std::move(door)});
  }
  current->machinery.emplace(ClientMachinery{config, observer, *current->call.home, *current->call.tls,
                                             *current->worker, current->door, current->more_workers, *current->threads,
                                             current->slabs, current->claims, *current->journals, current->call.nudge,
                                             stop_requested, current->call.progress_requested});
  current->command.emplace(*current->machinery, operation, current->words, current->options);
  auto result = run<TransferSummary>(current->call, current->command->async_run(), true);
  if (!result) return result;
  result->until_told = std::shared_ptr<const void>(current.release(), [](const void* told) {
    const std::unique_ptr<const Transferring> last{static_cast<const Transferring*>(told)};
    auto& ending = const_cast<Transferring&>(*last);
    ending.impl->say_farewell(ending);
  });
  return result;
}

/// A stop cuts it short: the user knows the end, and what is left undone expires.
void Client::Impl::say_farewell(Transferring& transfer) {
  {
    const std::lock_guard lock{mutex};
    if (stops > 0) return;
    call = &transfer.call;
    graceful = false;
  }
  transfer.call.io.restart();
  asio::co_spawn(transfer.call.io, transfer.command->async_farewell(),
                 [&io = transfer.call.io](std::exception_ptr) { io.stop(); });
  transfer.call.io.run();
  const std::lock_guard lock{mutex};
  call = nullptr;
}

Client::Client(ClientConfig config, Observer& observer) : impl_(std::make_shared<Impl>(std::move(config), observer)) {}
Client::~Client() = default;

void Client::request_stop(int signal) {
  const std::lock_guard lock{impl_->mutex};
  impl_->signal = signal;
  const int count = ++impl_->stops;
  if (impl_->call != nullptr)
    asio::post(impl_->call->io, [impl = impl_.get(), call = impl_->call, count] { impl->on_stop(*call, count); });
}

void Client::request_progress() {
  const std::lock_guard lock{impl_->mutex};
  if (impl_->call == nullptr) return;
  asio::post(impl_->call->io, [call = impl_->call] {
    call->progress_requested = true;
    call->nudge.notify();
  });
}

Result<Registration> Client::register_client(const std::string& token) {
  Call current;
  if (auto ready = current.prepare(impl_->config); !ready) return ready.error();
  const auto enrol = [](Impl& impl, Call& call, std::string text) -> asio::awaitable<Result<Registration>> {
    std::function<asio::awaitable<Result<OpenedSession>>(const ClientConfig&)> attempt =
        [&](const ClientConfig& allowed) { return async_register(allowed, *call.home, *call.tls, text); };
    auto opened = co_await async_while_busy<OpenedSession>(impl.config, impl.observer, std::move(attempt));
    wipe_text(text);
    if (!opened) co_return opened.error();
    impl.tell_connected(*opened);
    Registration registration;
    registration.uuid = to_string(opened->daemon.uuid);
    registration.user = opened->session.user;
    registration.fingerprint = to_string(opened->daemon.pin);
    registration.grants = opened->session.grants;
    Questions questions{opened->link};
    co_await questions.async_close();
    co_return std::move(registration);
  };
  return impl_->run<Registration>(current, enrol(*impl_, current, token), false);
}

Result<TransferSummary> Client::push(const TransferWords& words, const TransferOptions& options) {
  return impl_->transfer(ReceiptOperation::push, words, options);
}
Result<TransferSummary> Client::pull(const TransferWords& words, const TransferOptions& options) {
  return impl_->transfer(ReceiptOperation::pull, words, options);
}

namespace {
struct Nothing {};
Status status_of(const Result<Nothing>& result) { return result ? Status{} : Status{result.error()}; }
}  // namespace

Status Client::list(const std::string& path) {
  auto& observer = impl_->observer;
  return status_of(impl_->ask<Nothing>(
      [&observer, path](Questions& questions, const OpenedSession&) -> asio::awaitable<Result<Nothing>> {
        std::string after;
        for (;;) {
          proto::Envelope request;
          request.mutable_list()->set_path(path);
          request.mutable_list()->set_after(after);
          auto reply = co_await questions.async_ask(std::move(request));
          if (!reply) co_return reply.error();
          if (!reply->has_list_reply()) co_return unexpected_reply();
          for (const auto& info : reply->list_reply().entries()) {
            // Ascending names end every listing, whatever the daemon is up to.
            if (!after.empty() && info.name() <= after) co_return unexpected_reply();
            after = info.name();
            observer.on_entry(entry_of(info));
          }
          if (!reply->list_reply().more() || reply->list_reply().entries_size() == 0) co_return Nothing{};
        }
      }));
}

Result<RemoteEntry> Client::stat(const std::string& path) {
  return impl_->ask<RemoteEntry>(
      [path](Questions& questions, const OpenedSession&) -> asio::awaitable<Result<RemoteEntry>> {
        proto::Envelope request;
        request.mutable_stat()->set_path(path);
        auto reply = co_await questions.async_ask(std::move(request));
        if (!reply) co_return reply.error();
        if (!reply->has_stat_reply()) co_return unexpected_reply();
        co_return entry_of(reply->stat_reply().info());
      });
}

namespace {
/// A request that is answered by Done.
auto expecting_done(proto::Envelope request) {
  return
      [request = std::move(request)](Questions& questions, const OpenedSession&) -> asio::awaitable<Result<Nothing>> {
        auto reply = co_await questions.async_ask(request);
        if (!reply) co_return reply.error();
        if (!reply->has_done()) co_return unexpected_reply();
        co_return Nothing{};
      };
}
}  // namespace

Status Client::mkdir(const std::string& path, bool parents) {
  proto::Envelope request;
  request.mutable_mkdir()->set_path(path);
  request.mutable_mkdir()->set_parents(parents);
  return status_of(impl_->ask<Nothing>(expecting_done(std::move(request))));
}

Status Client::rename(const std::string& from, const std::string& to) {
  proto::Envelope request;
  request.mutable_rename()->set_from(from);
  request.mutable_rename()->set_to(to);
  return status_of(impl_->ask<Nothing>(expecting_done(std::move(request))));
}

Status Client::remove(const std::string& path, bool recursive) {
  proto::Envelope request;
  request.mutable_remove()->set_path(path);
  request.mutable_remove()->set_recursive(recursive);
  return status_of(impl_->ask<Nothing>(expecting_done(std::move(request))));
}

Result<DigestAnswer> Client::digest(const std::string& path) {
  return impl_->ask<DigestAnswer>(
      [path](Questions& questions, const OpenedSession&) -> asio::awaitable<Result<DigestAnswer>> {
        proto::Envelope request;
        request.mutable_digest()->set_path(path);
        auto reply = co_await questions.async_ask(std::move(request));
        if (!reply) co_return reply.error();
        if (!reply->has_digest_reply() || reply->digest_reply().sha256().size() != 32) co_return unexpected_reply();
        co_return DigestAnswer{bytes::to_hex(bytes::as_bytes(reply->digest_reply().sha256())),
                               reply->digest_reply().size()};
      });
}

Result<PingAnswer> Client::ping() {
  auto& impl = *impl_;
  Call current;
  if (auto ready = current.prepare(impl.config); !ready) return ready.error();
  auto worker = io::Worker::create(worker_config(impl.config));
  if (!worker) return worker.error();
  std::function<asio::awaitable<Result<PingAnswer>>(const ClientConfig&)> attempt =
      [&](const ClientConfig& allowed) -> asio::awaitable<Result<PingAnswer>> {
    auto opened = co_await async_open_session(allowed, *current.home, *current.tls);
    if (!opened) co_return opened.error();
    impl.tell_connected(*opened);
    Questions questions{opened->link};
    auto answer = co_await async_measure_way(questions, *opened, **worker, impl.config.timeout);
    co_await questions.async_close();
    if (!answer && questions.farewell()) co_return *questions.farewell();
    co_return std::move(answer);
  };
  auto answer = impl.run<PingAnswer>(
      current, async_while_busy<PingAnswer>(impl.config, impl.observer, std::move(attempt)), false);
  worker->reset();  // before the event loop that its observers post to
  return answer;
}

}  // namespace penstock::control
