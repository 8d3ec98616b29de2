#include "dataplane/storage/posix_sink.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "common/escape.h"
#include "common/path/beneath.h"
#include "dataplane/storage/sink_core.h"
#include "dataplane/storage/slab_sink_window.h"

namespace penstock::storage {

namespace {

/// The worker's half: the window, and the way to and from the strand.
class PosixSink final : public Sink, public std::enable_shared_from_this<PosixSink> {
 public:
  PosixSink(SlabAccount slabs, std::vector<PostToWorker> workers, SinkObserver& observer)
      : slabs_(std::move(slabs)),
        post_(workers.front()),
        observer_(&observer),
        windows_(
            slabs_, std::move(workers), [this](FilledSlab slab) { hand_over(std::move(slab)); }, [this] { quiet(); }) {}

  void start(PosixSinkConfig config, std::shared_ptr<Journal> journal, StorageExecutor& executor, TargetClaims& claims,
             FileCalls& calls) {
    windows_.set_owner(shared_from_this());
    const auto tell = [weak = weak_from_this(), post = post_](std::function<void(SinkObserver&, LaneWindows&)> news) {
      post([weak, news = std::move(news)] {
        const auto self = weak.lock();
        if (self && self->observer_ != nullptr) news(*self->observer_, self->windows_);
      });
    };
    core_ =
        std::make_shared<SinkCore>(std::move(config), std::move(journal), executor, slabs_.pool(), claims, calls, tell);
  }

  engine::SinkWindow& window() override { return windows_.at(0); }
  engine::SinkWindow& window_of(std::size_t lane) override { return windows_.at(lane); }
  void on_given_up(std::size_t lane, TransferRange range) override { windows_.at(lane).hand_on_within(range); }

  void on_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries) override {
    run([first_index, entries = std::move(entries)](SinkCore& core) mutable {
      core.take_entries(first_index, std::move(entries));
    });
  }
  void on_left_out() override {
    run([](SinkCore& core) { core.take_left_out(); });
  }
  void on_manifest_end(std::uint64_t entries, std::uint64_t bytes) override {
    run([entries, bytes](SinkCore& core) { core.take_manifest_end(entries, bytes); });
  }
  void on_digests(DigestRun digests) override {
    run([digests = std::move(digests)](SinkCore& core) { core.take_digests(digests); });
  }
  void fail_entry(std::uint64_t index, Error error) override {
    run([index, error = std::move(error)](SinkCore& core) { core.fail_entry(index, error); });
  }
  void audit() override {
    windows_.flush([self = shared_from_this()] { self->run([](SinkCore& core) { core.audit(); }); });
  }
  void commit() override {
    run([](SinkCore& core) { core.commit(); });
  }
  void checkpoint(std::function<void()> done) override {
    windows_.flush([self = shared_from_this(), done = std::move(done)] {
      self->run([done](SinkCore& core) { core.checkpoint(done); });
    });
  }
  void on_bandwidth_delay_product(std::uint64_t bytes) override { slabs_.set_bandwidth_delay_product(bytes); }
  void close() override {
    if (observer_ == nullptr) return;
    observer_ = nullptr;
    windows_.discard();
    run([](SinkCore& core) { core.close(); });
  }
  SinkProgress progress() const override {
    return {.bytes_written = core_->counters.bytes_written,
            .bytes_durable = core_->counters.bytes_durable,
            .slabs_waiting = core_->counters.slabs_waiting};
  }

 private:
  template <class Work>
  void run(Work work) {
    // std::function wants copies; the payloads are moved in once and never copied.
    auto shared = std::make_shared<Work>(std::move(work));
    core_->strand().post([core = core_, shared] { (*shared)(*core); });
  }
  void hand_over(FilledSlab slab) {
    ++core_->counters.slabs_waiting;
    run([slab = std::move(slab)](SinkCore& core) mutable { core.take_slab(std::move(slab)); });
  }
  void quiet() {
    run([](SinkCore& core) { core.on_quiet(); });
  }

  SlabAccount slabs_;
  PostToWorker post_;
  SinkObserver* observer_;  // nullptr once closed
  LaneWindows windows_;
  std::shared_ptr<SinkCore> core_;
};

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Result<std::string> real_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.empty() ? "." : path.c_str(), resolved) == nullptr) {
    return error_from_errno(errno, "resolve", path);
  }
  return std::string{resolved};
}

}  // namespace

std::shared_ptr<Sink> make_posix_sink(PosixSinkConfig config, std::shared_ptr<Journal> journal, SlabAccount slabs,
                                      StorageExecutor& executor, TargetClaims& claims,
                                      std::vector<PostToWorker> workers, SinkObserver& observer, FileCalls& calls) {
  auto sink = std::make_shared<PosixSink>(std::move(slabs), std::move(workers), observer);
  sink->start(std::move(config), std::move(journal), executor, claims, calls);
  return sink;
}

std::shared_ptr<Sink> make_posix_sink(PosixSinkConfig config, std::shared_ptr<Journal> journal, SlabAccount slabs,
                                      StorageExecutor& executor, TargetClaims& claims, PostToWorker post,
                                      SinkObserver& observer, FileCalls& calls) {
  return make_posix_sink(std::move(config), std::move(journal), std::move(slabs), executor, claims,
                         std::vector<PostToWorker>{std::move(post)}, observer, calls);
}

Result<Destination> open_local_destination(const std::string& destination) {
  if (destination.empty() || destination.find('\0') != std::string::npos) {
    return Error{ErrorCode::PATH_REFUSED, "an empty target names nothing; write . for the current directory"};
  }
  Destination result;
  std::string head = destination;
  while (head.size() > 1 && head.back() == '/') head.pop_back();
  const auto last_of = [](const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
  };
  const std::string last = last_of(head);
  result.is_container = destination.back() == '/' || last == "." || last == "..";

  // What exists is resolved with its links; what does not is kept as names, to be created.
  std::vector<std::string> missing;
  std::string resolved;
  if (is_directory(head)) {
    auto real = real_path(head);
    if (!real) return std::move(real).error();
    resolved = std::move(*real);
  } else {
    while (true) {
      const std::string name = last_of(head);
      if (name == "." || name == "..") return error_from_errno(ENOENT, "find the target", destination);
      missing.insert(missing.begin(), name);
      head.resize(head.size() - name.size());
      while (head.size() > 1 && head.back() == '/') head.pop_back();
      if (head.empty() || is_directory(head)) break;
      struct stat status {};
      if (::lstat(head.c_str(), &status) == 0) {
        const std::string_view kind = S_ISLNK(status.st_mode) ? " is a link that leads to no directory" : " is a file";
        return Error{ErrorCode::NOT_A_DIRECTORY,
                     escape_for_display(head, 512) + std::string{kind} + ", where a directory is needed", head};
      }
    }
    auto real = real_path(head);
    if (!real) return std::move(real).error();
    resolved = std::move(*real);
  }
  for (const auto& name : missing) {
    if (!name.empty()) resolved += "/" + name;
  }
  auto path = path::SafePath::parse_absolute(resolved);
  if (!path) return std::move(path).error();
  result.path = std::move(*path);
  auto base = path::open_trusted_directory("/");
  if (!base) return std::move(base).error();
  result.base = std::move(*base);
  return result;
}

}  // namespace penstock::storage
