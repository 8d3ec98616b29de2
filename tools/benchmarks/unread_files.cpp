// Preloaded into penstock (LD_PRELOAD) by `tools/bench discard`: large reads of large files succeed at once and copy
// nothing, so that what is left of a discarded push is the network path alone, as in a sealed blast without files. The
// bytes that travel are those that the slab happens to hold; digests agree, since they are taken of those.
//
// Fortified headers define such calls in themselves, and clang lets nobody define them again.
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>

namespace {
constexpr off_t file_size_min = 16 << 20;
constexpr std::size_t read_size_min = 64 << 10;  // spill files and journals are read in smaller pieces
}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t pread(int fd, void* into, size_t length, off_t offset) {
  static const auto next = reinterpret_cast<decltype(&::pread)>(::dlsym(RTLD_NEXT, "pread"));
  struct stat status {};
  if (length >= read_size_min && ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
      status.st_size >= file_size_min && offset + static_cast<off_t>(length) <= status.st_size)
    return static_cast<ssize_t>(length);
  return next(fd, into, length, offset);
}
