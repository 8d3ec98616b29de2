#include "dataplane/io/steering.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "common/check.h"

namespace penstock::io {
namespace {

// Specification: the id is the datagram's bytes 1 to 8, big-endian (PROTOCOL section 2), so byte 1 is its highest.
constexpr std::uint32_t first_id_byte_at = 1;
constexpr unsigned first_byte_shift = 56;
constexpr std::size_t byte_values = 256;

}  // namespace

std::size_t worker_named_by(ConnectionId id, std::size_t workers) {
  PENSTOCK_CHECK(workers > 0 && workers <= byte_values);
  return static_cast<std::size_t>(id.value >> first_byte_shift) % workers;
}

ConnectionId id_naming(std::size_t worker, std::size_t workers, std::uint64_t random) {
  PENSTOCK_CHECK(worker < workers && workers <= byte_values);
  auto first = static_cast<std::size_t>(random >> first_byte_shift);
  first = first - first % workers + worker;
  // The last, incomplete row of the table byte / workers: the row before it has every worker.
  if (first >= byte_values) first -= workers;
  const std::uint64_t rest = random & ((std::uint64_t{1} << first_byte_shift) - 1);
  return {static_cast<std::uint64_t>(first) << first_byte_shift | rest};
}

Status attach_steering(int fd, std::size_t workers) {
  PENSTOCK_CHECK(workers > 0 && workers <= byte_values);
  // The kernel runs it on the UDP payload. A load beyond its end ends the program with 0: socket 0.
  std::array<sock_filter, 3> code{
      sock_filter{.code = BPF_LD | BPF_B | BPF_ABS, .jt = 0, .jf = 0, .k = first_id_byte_at},
      sock_filter{.code = BPF_ALU | BPF_MOD | BPF_K, .jt = 0, .jf = 0, .k = static_cast<std::uint32_t>(workers)},
      sock_filter{.code = BPF_RET | BPF_A, .jt = 0, .jf = 0, .k = 0},
  };
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
    return error_from_errno(errno, "attach the steering program", "");
  return {};
}

}  // namespace penstock::io
