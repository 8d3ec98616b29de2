// How to get slabs into a fresh file: which call, in which size, on which file system. The sink's pwrite of one slab
// was chosen by this (dataplane/storage/README). Directory: $PENSTOCK_BENCH_DIR, default /dev/shm; run it once on a
// disk as well. Figures are bytes a second of the wall clock, and the processor's share beside them.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "common/digest/xxh3.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace penstock::benchmarks {
namespace {

constexpr std::uint64_t file_size = 512 * MiB;
constexpr std::size_t source_size = 32 * MiB;  // slabs of a busy transfer: more than a core's own cache

std::string directory() {
  const char* const named = std::getenv("PENSTOCK_BENCH_DIR");
  return named != nullptr ? named : "/dev/shm";
}

/// Aligned memory with something in it.
class Source {
 public:
  Source() : memory_(static_cast<std::byte*>(std::aligned_alloc(4096, source_size)), &std::free) {
    for (std::size_t i = 0; i < source_size; ++i) memory_.get()[i] = static_cast<std::byte>(i * 31 >> 3);
  }
  [[nodiscard]] std::span<const std::byte> at(std::uint64_t offset, std::size_t size) const {
    return {memory_.get() + offset % source_size, size};
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
};

UniqueFd fresh_file(int flags) {
  UniqueFd fd{::open(directory().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600)};
  if (fd && ::ftruncate(fd.get(), static_cast<off_t>(file_size)) != 0) fd.reset();
  return fd;
}

/// Runs `write(fd, source)` on one fresh file an iteration, and makes it durable (which is nothing in memory); making
/// and dropping the file is not counted.
template <class Write>
void on_fresh_files(benchmark::State& state, int flags, Write write) {
  const Source source;
  for (auto _ : state) {
    state.PauseTiming();
    UniqueFd fd = fresh_file(flags);
    if (!fd) {
      state.SkipWithError(("cannot make a file there: " + std::string{std::strerror(errno)}).c_str());
      return;
    }
    state.ResumeTiming();
    const bool written = write(fd.get(), source) && ::fdatasync(fd.get()) == 0;
    state.PauseTiming();
    if (!written) {
      state.SkipWithError(std::strerror(errno));
      return;
    }
    fd.reset();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(file_size * static_cast<std::uint64_t>(state.iterations())));
}

bool pwrite_all(int fd, const Source& source, std::size_t step) {
  for (std::uint64_t at = 0; at < file_size; at += step) {
    const auto part = source.at(at, step);
    if (::pwrite(fd, part.data(), part.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(step)) return false;
  }
  return true;
}

void pwrite_steps(benchmark::State& state) {
  const auto step = static_cast<std::size_t>(state.range(0));
  on_fresh_files(state, 0, [&](int fd, const Source& source) { return pwrite_all(fd, source, step); });
}

void pwrite_direct(benchmark::State& state) {
  const auto step = static_cast<std::size_t>(state.range(0));
  on_fresh_files(state, O_DIRECT, [&](int fd, const Source& source) { return pwrite_all(fd, source, step); });
}

/// Slabs lie apart in memory; joined by one call.
void pwritev_slabs(benchmark::State& state) {
  const auto slabs = static_cast<std::size_t>(state.range(0)) / MiB;
  on_fresh_files(state, 0, [&](int fd, const Source& source) {
    std::array<iovec, 16> parts{};
    for (std::uint64_t at = 0; at < file_size; at += slabs * MiB) {
      for (std::size_t i = 0; i < slabs; ++i) {
        const auto slab = source.at(at + i * MiB, MiB);
        parts[i] = {const_cast<std::byte*>(slab.data()), slab.size()};
      }
      if (::pwritev(fd, parts.data(), static_cast<int>(slabs), static_cast<off_t>(at)) !=
          static_cast<ssize_t>(slabs * MiB))
        return false;
    }
    return true;
  });
}

void mapped(benchmark::State& state) {
  const bool populate = state.range(0) != 0;
  on_fresh_files(state, 0, [&](int fd, const Source& source) {
    constexpr std::size_t window = 8 * MiB;
    for (std::uint64_t at = 0; at < file_size; at += window) {
      void* const memory = ::mmap(nullptr, window, PROT_READ | PROT_WRITE, MAP_SHARED | (populate ? MAP_POPULATE : 0),
                                  fd, static_cast<off_t>(at));
      if (memory == MAP_FAILED) return false;
      std::memcpy(memory, source.at(at, window).data(), window);
      ::munmap(memory, window);
    }
    return true;
  });
}

/// What allocation ahead costs, on top of the writing.
void fallocate_then_pwrite(benchmark::State& state) {
  const auto step = static_cast<std::size_t>(state.range(0));
  on_fresh_files(state, 0, [&](int fd, const Source& source) {
    return ::fallocate(fd, 0, 0, static_cast<off_t>(file_size)) == 0 && pwrite_all(fd, source, step);
  });
}

/// The sink's work on a slab: written and digested, in steps that stay in the cache between the two.
void pwrite_and_digest(benchmark::State& state) {
  const auto step = static_cast<std::size_t>(state.range(0));
  on_fresh_files(state, 0, [&](int fd, const Source& source) {
    digest::Xxh3Hasher hasher;
    for (std::uint64_t block = 0; block < file_size; block += MiB) {
      hasher.reset();
      for (std::uint64_t at = block; at < block + MiB; at += step) {
        const auto part = source.at(at, step);
        if (::pwrite(fd, part.data(), part.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(step)) return false;
        hasher.update(part);
      }
      benchmark::DoNotOptimize(hasher.digest());
    }
    return true;
  });
}

/// The source's: read and digested.
void pread_and_digest(benchmark::State& state) {
  const auto step = static_cast<std::size_t>(state.range(0));
  const Source source;
  UniqueFd fd = fresh_file(0);
  if (!fd || !pwrite_all(fd.get(), source, MiB)) return state.SkipWithError(std::strerror(errno));
  const auto slabs = std::make_unique<std::byte[]>(8 * MiB);
  digest::Xxh3Hasher hasher;
  for (auto _ : state) {
    for (std::uint64_t block = 0; block < file_size; block += MiB) {
      hasher.reset();
      for (std::uint64_t at = block; at < block + MiB; at += step) {
        std::byte* const into = slabs.get() + at % (8 * MiB);
        if (::pread(fd.get(), into, step, static_cast<off_t>(at)) != static_cast<ssize_t>(step))
          return state.SkipWithError(std::strerror(errno));
        hasher.update({into, step});
      }
      benchmark::DoNotOptimize(hasher.digest());
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(file_size * static_cast<std::uint64_t>(state.iterations())));
}

class Ring {
 public:
  explicit Ring(unsigned entries) : usable_(::io_uring_queue_init(entries, &ring_, 0) == 0) {}
  ~Ring() {
    if (usable_) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  [[nodiscard]] bool usable() const { return usable_; }

  /// Requires: fewer in flight than entries.
  void submit_write(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_write(entry, file, bytes.data(), static_cast<unsigned>(bytes.size()), offset);
    ::io_uring_submit(&ring_);
  }
  /// Waits for one. False: it failed, or wrote less than `expected`.
  bool take(std::size_t expected) {
    io_uring_cqe* done = nullptr;
    if (::io_uring_wait_cqe(&ring_, &done) != 0) return false;
    const int result = done->res;
    ::io_uring_cqe_seen(&ring_, done);
    return result == static_cast<int>(expected);
  }

 private:
  io_uring ring_{};
  bool usable_;
};

void uring(benchmark::State& state, int flags) {
  const auto step = static_cast<std::size_t>(state.range(0));
  constexpr std::uint64_t in_flight_max = 4;
  Ring ring{8};
  if (!ring.usable()) return state.SkipWithError("there is no io_uring here");
  on_fresh_files(state, flags, [&](int fd, const Source& source) {
    std::uint64_t in_flight = 0;
    for (std::uint64_t at = 0; at < file_size; at += step) {
      ring.submit_write(fd, source.at(at, step), at);
      if (++in_flight < in_flight_max) continue;
      if (!ring.take(step)) return false;
      --in_flight;
    }
    for (; in_flight > 0; --in_flight) {
      if (!ring.take(step)) return false;
    }
    return true;
  });
}
void uring_buffered(benchmark::State& state) { uring(state, 0); }
void uring_direct(benchmark::State& state) { uring(state, O_DIRECT); }

void slab_sizes(benchmark::internal::Benchmark* what) {
  what->Arg(1 * MiB)->Arg(4 * MiB)->Arg(8 * MiB)->UseRealTime()->Unit(benchmark::kMillisecond);
}
void cache_sizes(benchmark::internal::Benchmark* what) {
  for (const std::uint64_t size : {64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB, MiB})
    what->Arg(static_cast<std::int64_t>(size));
  what->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(pwrite_steps)->Arg(64 * KiB)->Arg(256 * KiB)->Apply(slab_sizes);
BENCHMARK(pwritev_slabs)->Apply(slab_sizes);
BENCHMARK(pwrite_direct)->Apply(slab_sizes);
BENCHMARK(fallocate_then_pwrite)->Arg(1 * MiB)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(mapped)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(uring_buffered)->Apply(slab_sizes);
BENCHMARK(uring_direct)->Apply(slab_sizes);
BENCHMARK(pwrite_and_digest)->Apply(cache_sizes);
BENCHMARK(pread_and_digest)->Apply(cache_sizes);

}  // namespace
}  // namespace penstock::benchmarks
