#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/crypto/aead.h"
#include "common/result.h"
#include "dataplane/io/endpoint.h"
#include "tools/benchmarks/blast/terms.h"

namespace penstock::benchmarks {

struct BlastSendConfig {
  io::Endpoint to;
  std::optional<std::string> file{};          // read by pread, 1 MiB at a time; none: the same slab again and again
  std::uint64_t bytes = 0;                    // without a file: how many
  const crypto::AeadBackend* aead = nullptr;  // none: in the clear, without files
  std::uint16_t datagram_size = 1471;         // 1436 file bytes: what a 1500-byte MTU carries
  std::uint64_t window = 0;                   // bytes that may be on their way
  bool gso = true;
};

struct BlastSent {
  std::uint64_t total = 0;
  BlastProgress end;          // the receiver's last word
  std::uint64_t calls = 0;    // of sendmsg or sendmmsg
  std::uint64_t blocked = 0;  // times the socket was full
  std::uint64_t waits = 0;    // times the window was used up
  std::uint64_t stalls = 0;   // of those: until patience ended, so that what was on its way is lost
  std::size_t segments = 0;   // of a full batch
  bool gso = false;
};

/// One blast from its connection to the receiver's last word, on the calling thread. With a key every datagram is one
/// of Penstock's own DATA datagrams: header in the clear, payload sealed straight into the batch; none crosses a
/// multiple of 1 MiB. Nothing is acknowledged and nothing repeated: a lost datagram stays lost and is told as such.
/// What bounds it is the receiver's report of how far it is, so that its socket buffer is never run over.
[[nodiscard]] Result<BlastSent> send_blast(const BlastSendConfig& config);

}  // namespace penstock::benchmarks
