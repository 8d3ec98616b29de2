// Layout: README, "Journal".
#include "dataplane/storage/journal_record.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "common/bytes/view.h"
#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"
#include "common/check.h"
#include "common/path/safe_path.h"
#include "dataplane/storage/crc32c.h"
#include "dataplane/storage/growing_writer.h"

namespace penstock::storage {

namespace {

constexpr std::size_t text_size_max = 128 * 1024;

void encode_body(GrowingWriter& out, const TransferIdentity& record) {
  out.bytes(record.transfer);
  out.bytes(record.resume_key);
  out.bytes(record.owner);
  out.text(record.destination);
  out.text(record.base);
}
void encode_body(GrowingWriter& out, const PartialIntended& record) {
  out.text(record.path);
  out.text(record.partial_name);
}
void encode_body(GrowingWriter& out, const PartialCreated& record) {
  out.text(record.path);
  out.text(record.partial_name);
  out.bytes(record.source);
  out.u64(record.size);
  out.u64(record.device);
  out.u64(record.inode);
}
void encode_body(GrowingWriter& out, const BlocksDurable& record) {
  out.text(record.path);
  out.u64(record.first_block);
  out.u32(static_cast<std::uint32_t>(record.digests.size()));
  for (const auto& digest : record.digests) out.bytes(digest.bytes);
}
void encode_body(GrowingWriter& out, const BlocksLost& record) {
  out.text(record.path);
  out.u64(record.blocks.first);
  out.u64(record.blocks.count);
}
void encode_body(GrowingWriter& out, const Published& record) {
  out.text(record.path);
  out.bytes(record.source);
  out.u64(record.size);
  out.u64(record.device);
  out.u64(record.inode);
  out.u64(static_cast<std::uint64_t>(record.mtime_ns));
  out.u8(static_cast<std::uint8_t>(record.digest.algorithm()));
  out.bytes(record.digest.bytes());
}
void encode_body(GrowingWriter& out, const PartialDropped& record) { out.text(record.path); }
void encode_body(GrowingWriter&, const Finished&) {}

template <std::size_t N>
void read_array(bytes::WireReader& in, std::array<std::byte, N>& into) {
  const auto view = in.bytes(N);
  if (in.ok()) std::copy(view.begin(), view.end(), into.begin());
}

std::string read_text(bytes::WireReader& in) {
  const auto size = in.u32();
  if (size > text_size_max) in.fail();
  return std::string{bytes::as_text(in.bytes(in.ok() ? size : 0))};
}

/// Names of partials are unlinked on the journal's word, so they must be such names; a directory's intent has none.
std::string read_partial_name(bytes::WireReader& in, bool may_be_empty) {
  std::string name = read_text(in);
  const bool fits = (name.empty() && may_be_empty) || path::Component::parse_partial(name).has_value();
  if (!fits) in.fail();
  return name;
}

std::string read_path(bytes::WireReader& in) {
  std::string text = read_text(in);
  if (!path::SafePath::parse_relative(text)) in.fail();
  return text;
}

std::optional<JournalRecord> decode_body(std::uint8_t type, bytes::WireReader& in) {
  switch (type) {
    case 0: {
      TransferIdentity record;
      read_array(in, record.transfer);
      read_array(in, record.resume_key);
      read_array(in, record.owner);
      record.destination = read_text(in);
      record.base = read_text(in);
      return record;
    }
    case 1: {
      PartialIntended record;
      record.path = read_path(in);
      record.partial_name = read_partial_name(in, true);
      return record;
    }
    case 2: {
      PartialCreated record;
      record.path = read_path(in);
      record.partial_name = read_partial_name(in, false);
      read_array(in, record.source);
      record.size = in.u64();
      record.device = in.u64();
      record.inode = in.u64();
      return record;
    }
    case 3: {
      BlocksDurable record;
      record.path = read_path(in);
      record.first_block = in.u64();
      const auto count = in.u32();
      if (count > in.remaining() / 16) in.fail();
      for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
        digest::Xxh3 digest;
        read_array(in, digest.bytes);
        record.digests.push_back(digest);
      }
      return record;
    }
    case 4: {
      BlocksLost record;
      record.path = read_path(in);
      record.blocks.first = in.u64();
      record.blocks.count = in.u64();
      return record;
    }
    case 5: {
      Published record;
      record.path = read_path(in);
      read_array(in, record.source);
      record.size = in.u64();
      record.device = in.u64();
      record.inode = in.u64();
      record.mtime_ns = static_cast<std::int64_t>(in.u64());
      const auto algorithm = in.u8();
      if (algorithm != static_cast<std::uint8_t>(digest::Algorithm::xxh3) &&
          algorithm != static_cast<std::uint8_t>(digest::Algorithm::sha256)) {
        in.fail();
      }
      const auto digest = digest::Digest::from_bytes(static_cast<digest::Algorithm>(algorithm), in.rest());
      if (!digest || !in.ok()) return in.fail(), std::nullopt;
      record.digest = *digest;
      return record;
    }
    case 6:
      return PartialDropped{read_path(in)};
    case 7:
      return Finished{};
    default:
      in.fail();
      return std::nullopt;
  }
}

/// False: the record contradicts those before it.
struct Apply {
  JournalFile& file;

  bool operator()(const PartialIntended& record) const {
    file.intended.push_back(record.partial_name);
    return true;
  }
  bool operator()(const PartialCreated& record) const {
    std::erase(file.intended, record.partial_name);
    file.partial = record;
    file.durable.clear();
    return true;
  }
  bool operator()(const BlocksDurable& record) const {
    if (!file.partial) return false;
    const auto blocks = block_count(file.partial->size);
    if (record.first_block > blocks || record.digests.size() > blocks - record.first_block) return false;
    for (std::size_t i = 0; i < record.digests.size(); ++i) file.durable[record.first_block + i] = record.digests[i];
    return true;
  }
  bool operator()(const BlocksLost& record) const {
    if (record.blocks.count > ~record.blocks.first) return false;
    file.durable.erase(file.durable.lower_bound(record.blocks.first), file.durable.lower_bound(record.blocks.end()));
    return true;
  }
  bool operator()(const Published& record) const {
    // The partial stays known, and so does what had the name: the rename may not have happened.
    if (file.published) file.published_before.push_back(std::move(*file.published));
    file.published = record;
    return true;
  }
  bool operator()(const PartialDropped&) const {
    file.partial.reset();
    file.intended.clear();
    file.durable.clear();
    return true;
  }
  bool operator()(const TransferIdentity&) const { return false; }
  bool operator()(const Finished&) const { return false; }
};

}  // namespace

bool JournalFile::apply(const JournalRecord& record) { return std::visit(Apply{*this}, record); }

const std::string* path_of(const JournalRecord& record) {
  return std::visit(
      [](const auto& which) -> const std::string* {
        if constexpr (requires { which.path; }) {
          return &which.path;
        } else {
          return nullptr;
        }
      },
      record);
}

void append_journal_record(std::vector<std::byte>& out, std::uint64_t sequence, const JournalRecord& record) {
  const std::size_t begin = out.size();
  GrowingWriter writer{out};
  writer.u32(0);  // the length, once it is known
  writer.u64(sequence);
  writer.u8(static_cast<std::uint8_t>(record.index()));
  std::visit([&](const auto& which) { encode_body(writer, which); }, record);
  const std::size_t size = out.size() - begin;
  PENSTOCK_CHECK(size + journal_crc_size <= journal_record_size_max);
  bytes::WireWriter{std::span{out}.subspan(begin)}.u32(static_cast<std::uint32_t>(size - journal_prefix_size));
  writer.u32(crc32c(std::span{out}.subspan(begin)));
}

std::vector<std::byte> encode_journal_record(std::uint64_t sequence, const JournalRecord& record) {
  std::vector<std::byte> bytes;
  append_journal_record(bytes, sequence, record);
  return bytes;
}

std::optional<JournalRecord> decode_journal_record(std::span<const std::byte> data,
                                                   std::optional<std::uint64_t> expected_sequence, std::size_t* size) {
  bytes::WireReader in{data};
  const std::uint64_t body_size = in.u32();
  const std::uint64_t sequence = in.u64();
  const std::uint8_t type = in.u8();
  const auto body = in.bytes(body_size);
  const std::size_t covered = journal_prefix_size + static_cast<std::size_t>(body_size);
  const std::uint32_t crc = in.u32();
  if (!in.ok() || covered + journal_crc_size > journal_record_size_max) return std::nullopt;
  if (sequence != expected_sequence.value_or(sequence) || crc != crc32c(data.first(covered))) return std::nullopt;
  if ((type == 0) != (sequence == 0)) return std::nullopt;  // the identity is first, and once
  bytes::WireReader fields{body};
  auto record = decode_body(type, fields);
  if (!record || !fields.done()) return std::nullopt;
  if (size != nullptr) *size = covered + journal_crc_size;
  return record;
}

}  // namespace penstock::storage
