// A file's bytes into a directory in memory: window, slabs, writing strand, digests, journal, rename; no network. And
// the window alone. What the engine does by opening, a copy does here.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/digest/xxh3.h"
#include "common/random.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/slab_sink_window.h"

namespace penstock::benchmarks {
namespace {

using namespace penstock::storage;

constexpr std::uint64_t total = 256 * MiB;
constexpr std::size_t payload = 1436;

/// One block of random bytes: every block of the file is this one, so its digest is known.
class Block {
 public:
  Block() : bytes_(slab_bytes) {
    Rng{1}.fill(bytes_);
    digest_ = digest::xxh3(bytes_);
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] const digest::Xxh3& digest() const { return digest_; }

 private:
  std::vector<std::byte> bytes_;
  digest::Xxh3 digest_;
};

const Block& block() {
  static const Block one;
  return one;
}

/// Copies one datagram's worth to its place. False: no room now.
bool deliver(engine::SinkWindow& window, std::uint64_t at) {
  const std::size_t place = at % slab_bytes;
  const auto bytes = block().bytes().subspan(place, std::min(payload, slab_bytes - place));
  if (const auto room = window.lend({at}, bytes.size()); !room.empty()) {
    std::memcpy(room.data(), bytes.data(), bytes.size());
    window.commit({at}, bytes.size());
    return true;
  }
  return window.store({at}, bytes);
}

/// The next datagram's place: none crosses a slab's end.
std::uint64_t after(std::uint64_t at) { return std::min(at + payload, at / slab_bytes * slab_bytes + slab_bytes); }

void sink_window(benchmark::State& state) {
  SlabPool pool;
  auto account = pool.open_account();
  SlabSinkWindow window(*account, [](FilledSlab) {});
  std::uint64_t at = 0;
  for (auto _ : state) {
    if (!deliver(window, at)) state.SkipWithError("no room");
    at = after(at);
  }
  window.discard();
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(at));
}
BENCHMARK(sink_window);

/// A directory in memory, where there is such a place, and gone afterwards.
class Scratch {
 public:
  Scratch() {
    std::string name = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path().string());
    name += "/penstock-bench-sink.XXXXXX";
    path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// One file through one sink; the calling thread is the worker.
class SinkRun final : public SinkObserver {
 public:
  SinkRun(SlabPool& pool, StorageExecutor& executor, TargetClaims& claims, JournalStore& journals,
          const std::string& destination)
      : tasks_(std::make_shared<Tasks>()) {
    TransferIdentity identity;
    identity.base = "/";
    journal_ = std::move(*journals.create(identity));
    PosixSinkConfig config;
    config.destination = std::move(*open_local_destination(destination));
    config.roots.push_back({.name = "file", .contents = false});
    config.spill_directory = journals.directory();
    sink_ = make_posix_sink(
        std::move(config), journal_, std::move(*pool.open_account()), executor, claims,
        [tasks = tasks_](std::function<void()> task) { tasks->add(std::move(task)); }, *this);
  }

  /// Empty when the file is published.
  std::string run() {
    ManifestEntry entry;
    entry.size = total;
    entry.mode = 0644;
    sink_->on_entries(0, {std::move(entry)});
    sink_->on_manifest_end(1, total);
    while (!over_) {
      if (decided_) pump();
      if (!over_) tasks_->run_one();
    }
    sink_->close();
    return failure_;
  }

  void on_verdicts(SinkVerdicts verdicts) override {
    decided_ = verdicts.decided == 1;
    sink_->on_digests(
        {.index = 0, .first_block = 0, .blocks = std::vector(total / slab_bytes, block().digest()), .files = {}});
  }
  void on_entry_failed(std::uint64_t, const Error& error) override { end(error.message); }
  void on_file_finished(FileReport) override {}
  void on_room() override {}
  void on_audited(AuditResult result) override {
    if (!result.repair.empty()) return end("blocks are missing or differ");
    sink_->commit();
  }
  void on_committed(SinkTotals) override { end(journal_->finish().ok() ? "" : "the journal was not ended"); }
  void on_sink_failed(const Error& error) override { end(error.message); }

 private:
  struct Tasks {
    void add(std::function<void()> task) {
      {
        const std::lock_guard lock(mutex);
        queue.push_back(std::move(task));
      }
      wake.notify_one();
    }
    void run_one() {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [this] { return !queue.empty(); });
        task = std::move(queue.front());
        queue.pop_front();
      }
      task();
    }
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> queue;
  };

  void pump() {
    while (at_ < total && deliver(sink_->window(), at_)) at_ = after(at_);
    if (at_ == total && !std::exchange(audited_, true)) sink_->audit();
  }
  void end(std::string failure) {
    over_ = true;
    failure_ = std::move(failure);
  }

  std::shared_ptr<Tasks> tasks_;
  std::shared_ptr<Journal> journal_;
  std::shared_ptr<Sink> sink_;
  std::uint64_t at_ = 0;
  bool decided_ = false;
  bool audited_ = false;
  bool over_ = false;
  std::string failure_;
};

void posix_sink(benchmark::State& state) {
  const Scratch scratch;
  const std::string target = scratch.path() + "/target";
  std::error_code failed;
  std::filesystem::create_directory(target, failed);
  auto journals = JournalStore::open(scratch.path() + "/journals");
  if (failed || !journals) {
    state.SkipWithError("no scratch directory");
    return;
  }
  SlabPool pool;
  TargetClaims claims;
  StorageExecutor executor;
  for (auto _ : state) {
    const std::string said = SinkRun(pool, executor, claims, **journals, target + "/").run();
    if (!said.empty()) state.SkipWithError(said.c_str());
    state.PauseTiming();
    std::filesystem::remove(target + "/file", failed);
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(total));
}
BENCHMARK(posix_sink)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace penstock::benchmarks
