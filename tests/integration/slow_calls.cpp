// Preloaded into penstock or penstockd (LD_PRELOAD): makes one kind of system call as slow as the test says, so that it
// is known what holds a transfer up. SLOW_READ, SLOW_WRITE, SLOW_SEND, SLOW_RECEIVE: bytes a second of pread, pwrite,
// sendmmsg, recvmmsg. A disk sleeps; a network call that is slow keeps its processor busy. SLOW_JOURNAL: seconds that
// it takes to lock a journal.
//
// Fortified headers define such calls in themselves, and clang lets nobody define them again.
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

enum class Meanwhile { sleep, work };

/// Calls of one kind, one after another, at this rate together.
class Slowness {
 public:
  Slowness(const char* variable, Meanwhile meanwhile) : meanwhile_(meanwhile) {
    const char* const said = std::getenv(variable);
    if (said != nullptr) rate_ = std::strtod(said, nullptr);
  }
  void take(ssize_t bytes) {
    if (rate_ <= 0 || bytes <= 0) return;
    const auto lasts = std::chrono::duration<double>(static_cast<double>(bytes) / rate_);
    Clock::time_point until;
    {
      const std::lock_guard lock{mutex_};
      free_at_ = std::max(free_at_, Clock::now()) + std::chrono::duration_cast<Clock::duration>(lasts);
      until = free_at_;
    }
    if (meanwhile_ == Meanwhile::sleep) return std::this_thread::sleep_until(until);
    while (Clock::now() < until) {
    }
  }

 private:
  Meanwhile meanwhile_;
  double rate_ = 0;
  std::mutex mutex_;
  Clock::time_point free_at_{};
};

template <class Function>
Function* next_of(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

ssize_t bytes_of(const mmsghdr* messages, int count) {
  ssize_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += messages[i].msg_len;
  return bytes;
}

bool is_journal(int fd) {
  char name[4096];
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name);
  return length > 0 && std::string_view{name, static_cast<std::size_t>(length)}.ends_with(".journal");
}

}  // namespace

extern "C" {

int flock(int fd, int operation) noexcept {
  static const char* const seconds = std::getenv("SLOW_JOURNAL");
  static auto* const call = next_of<decltype(::flock)>("flock");
  if (seconds != nullptr && is_journal(fd)) std::this_thread::sleep_for(std::chrono::seconds{std::atoi(seconds)});
  return call(fd, operation);
}

ssize_t pread(int fd, void* into, std::size_t size, off_t at) {
  static Slowness slowness{"SLOW_READ", Meanwhile::sleep};
  static auto* const call = next_of<decltype(::pread)>("pread");
  const ssize_t got = call(fd, into, size, at);
  slowness.take(got);
  return got;
}

ssize_t pwrite(int fd, const void* from, std::size_t size, off_t at) {
  static Slowness slowness{"SLOW_WRITE", Meanwhile::sleep};
  static auto* const call = next_of<decltype(::pwrite)>("pwrite");
  const ssize_t put = call(fd, from, size, at);
  slowness.take(put);
  return put;
}

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  static Slowness slowness{"SLOW_SEND", Meanwhile::work};
  static auto* const call = next_of<decltype(::sendmmsg)>("sendmmsg");
  const int sent = call(fd, messages, count, flags);
  slowness.take(bytes_of(messages, sent));
  return sent;
}

int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* patience) {
  static Slowness slowness{"SLOW_RECEIVE", Meanwhile::work};
  static auto* const call = next_of<decltype(::recvmmsg)>("recvmmsg");
  const int got = call(fd, messages, count, flags, patience);
  slowness.take(bytes_of(messages, got));
  return got;
}

}  // extern "C"
