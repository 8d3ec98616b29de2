#include "dataplane/io/fast_paths.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>

#include "common/units.h"

namespace penstock::io {
namespace {

std::string size_text(std::size_t bytes) {
  if (bytes >= MiB && bytes % MiB == 0) return fmt::format("{}MiB", bytes / MiB);
  return fmt::format("{}KiB", bytes / KiB);
}

bool short_of(std::size_t granted, std::size_t asked) { return granted < asked / 4 * 3; }

}  // namespace

std::vector<std::string> words_of(const FastPaths& paths) {
  std::vector<std::string> words;
  if (paths.gso) words.emplace_back("udp_segment");
  if (paths.gro) words.emplace_back("udp_gro");
  words.push_back(fmt::format("workers={}", paths.workers));
  if (paths.workers > 1) words.emplace_back(paths.steered ? "steering=bpf" : "steering=hash");
  words.push_back("receive_buffer=" + size_text(paths.receive_buffer));
  words.push_back("send_buffer=" + size_text(paths.send_buffer));
  if (paths.busy_poll > Duration::zero()) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(paths.busy_poll).count();
    words.push_back(fmt::format("busy_poll={}us", us));
  }
  return words;
}

std::optional<std::string> buffer_hint(const FastPaths& paths) {
  const bool receive = short_of(paths.receive_buffer, paths.receive_buffer_asked);
  const bool send = short_of(paths.send_buffer, paths.send_buffer_asked);
  if (!receive && !send) return std::nullopt;
  std::string settings;
  if (receive) settings = fmt::format("net.core.rmem_max={}", paths.receive_buffer_asked);
  if (send) settings += fmt::format("{}net.core.wmem_max={}", receive ? " " : "", paths.send_buffer_asked);
  return fmt::format(
      "the kernel grants UDP sockets {} of receive and {} of send buffer, where {} and {} were asked for: above 1 "
      "Gbit/s "
      "datagrams may be dropped; as root `sysctl -w {}` gives them, and configs/sysctl/60-penstock.conf for good",
      size_text(paths.receive_buffer), size_text(paths.send_buffer), size_text(paths.receive_buffer_asked),
      size_text(paths.send_buffer_asked), settings);
}

}  // namespace penstock::io
