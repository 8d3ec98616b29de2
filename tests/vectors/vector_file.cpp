#include "tests/vectors/vector_file.h"

#include <fstream>
#include <stdexcept>

#include "common/bytes/hex.h"

namespace penstock::tests {

std::vector<std::byte> VectorRecord::bytes(const std::string& name) const {
  auto data = bytes::from_hex(text(name));
  if (!data) throw std::runtime_error("not hexadecimal: " + name);
  return std::move(*data);
}

std::vector<VectorRecord> read_vector_file(const std::string& name) {
  std::ifstream in(std::string{PENSTOCK_VECTORS_DIR} + '/' + name);
  if (!in) throw std::runtime_error("cannot read vector file " + name);
  std::vector<VectorRecord> records;
  VectorRecord record;
  const auto finish = [&] {
    if (!record.empty()) records.push_back(std::move(record));
    record = {};
  };
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) finish();
    if (line.empty() || line.front() == '#') continue;
    const auto equals = line.find(" =");
    if (equals == std::string::npos) throw std::runtime_error("bad line in " + name + ": " + line);
    record.add(line.substr(0, equals), equals + 3 < line.size() ? line.substr(equals + 3) : std::string{});
  }
  finish();
  if (records.empty()) throw std::runtime_error("no record in " + name);
  return records;
}

}  // namespace penstock::tests
