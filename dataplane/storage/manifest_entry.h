#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/units.h"

namespace penstock::storage {

enum class FileType : std::uint8_t { regular = 1, directory = 2, symlink = 3, special = 4 };  // as files.proto

/// Equal while a source file is unchanged: a hash of size, mtime and ctime in ns, device and inode.
using FileIdentity = std::array<std::byte, 16>;

/// Part of a file that is not sent and reads as zero; bytes of the file.
struct Hole {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  auto operator<=>(const Hole&) const = default;
};

// Specification: what a manifest may say at most.
inline constexpr std::size_t manifest_path_size_max = 64 * 1024;  // depth 200 of 255-byte names fits
inline constexpr std::size_t link_target_size_max = 4095;         // PATH_MAX less its NUL
inline constexpr std::size_t holes_max = 8192;                    // of one file; a source leaves out the smallest
inline constexpr std::uint64_t manifest_roots_max = 4096;
// A sink keeps about a byte of memory for each; larger trees go in parts.
inline constexpr std::uint64_t manifest_entries_max = std::uint64_t{1} << 26;

/// One file, directory or link of a transfer, as the manifest carries it (transfer.proto, Entry).
struct ManifestEntry {
  std::uint32_t root = 0;
  std::string path;  // below the root, components joined by '/', any other bytes; empty: the root itself
  FileType type = FileType::regular;
  std::uint64_t size = 0;  // of a regular file; 0 for all else
  std::uint32_t mode = 0;  // 0777
  std::int64_t mtime_ns = 0;
  std::string link_target;  // of a symlink, byte for byte
  FileIdentity identity{};  // of a regular file
  std::vector<Hole> holes;  // of a regular file; ascending, disjoint, within size

  bool operator==(const ManifestEntry&) const = default;
};

}  // namespace penstock::storage
