#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace penstock::tests {

/// One record of a vector file: `name = value` lines. A missing name fails the test by exception.
class VectorRecord {
 public:
  void add(std::string name, std::string value) { fields_.emplace(std::move(name), std::move(value)); }
  [[nodiscard]] bool empty() const { return fields_.empty(); }
  [[nodiscard]] const std::string& text(const std::string& name) const { return fields_.at(name); }
  /// The value as hexadecimal bytes.
  [[nodiscard]] std::vector<std::byte> bytes(const std::string& name) const;

 private:
  std::map<std::string, std::string> fields_;
};

/// Reads tests/vectors/`name`: records are parted by blank lines, `#` starts a comment line. Throws when the file can
/// not be read or holds no record, so that a test can not pass on nothing.
[[nodiscard]] std::vector<VectorRecord> read_vector_file(const std::string& name);

}  // namespace penstock::tests
