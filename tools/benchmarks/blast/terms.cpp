#include "tools/benchmarks/blast/terms.h"

#include <algorithm>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::benchmarks {
namespace {

constexpr std::uint32_t magic = 0x50624c31;  // "PbL1": another layout gets another number
constexpr std::size_t datagram_min = engine::data_header_size + crypto::aead_tag_size + 1;

}  // namespace

std::array<std::byte, blast_terms_size> encode_terms(const BlastTerms& terms) {
  std::array<std::byte, blast_terms_size> bytes{};
  bytes::WireWriter out(bytes);
  PENSTOCK_CHECK(terms.aead.size() <= blast_aead_name_max);
  out.u32(magic);
  out.bytes(bytes::as_bytes(terms.aead));
  out.zeros(blast_aead_name_max - terms.aead.size());
  out.u64(terms.total);
  out.u16(terms.datagram_size);
  out.u64(terms.report_every);
  PENSTOCK_CHECK(out.ok() && out.remaining() == 0);
  return bytes;
}

Decoded<BlastTerms> decode_terms(std::span<const std::byte, blast_terms_size> bytes) {
  bytes::WireReader in(bytes);
  if (in.u32() != magic) return WireError::unexpected_packet_type;
  const std::string_view name = bytes::as_text(in.bytes(blast_aead_name_max));
  const BlastTerms terms{
      .aead = std::string{name.substr(0, name.find('\0'))},
      .total = in.u64(),
      .datagram_size = in.u16(),
      .report_every = in.u64(),
  };
  if (!in.done()) return WireError::truncated;
  const bool sane = terms.total > 0 && terms.total <= blast_bytes_max && terms.report_every > 0 &&
                    terms.datagram_size >= datagram_min && terms.datagram_size <= engine::udp_payload_limit;
  if (!sane) return WireError::value_out_of_range;
  return terms;
}

std::array<std::byte, blast_progress_size> encode_progress(const BlastProgress& progress) {
  std::array<std::byte, blast_progress_size> bytes{};
  bytes::WireWriter out(bytes);
  out.u8(progress.done ? 1 : 0);
  out.u64(progress.passed);
  out.u64(progress.arrived);
  out.u64(progress.socket_drops);
  PENSTOCK_CHECK(out.ok() && out.remaining() == 0);
  return bytes;
}

Decoded<BlastProgress> decode_progress(std::span<const std::byte, blast_progress_size> bytes) {
  bytes::WireReader in(bytes);
  const std::uint8_t done = in.u8();
  const BlastProgress progress{
      .done = done == 1,
      .passed = in.u64(),
      .arrived = in.u64(),
      .socket_drops = in.u64(),
  };
  if (!in.done()) return WireError::truncated;
  if (done > 1 || progress.passed > blast_bytes_max || progress.arrived > progress.passed) {
    return WireError::value_out_of_range;
  }
  return progress;
}

}  // namespace penstock::benchmarks
