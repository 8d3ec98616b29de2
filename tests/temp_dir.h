#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <stdlib.h>

namespace penstock::tests {

/// A directory of the test's own, private to it, removed with all it holds when this goes.
class TempDir {
 public:
  TempDir() : path_((std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make a temporary directory");
  }
  ~TempDir() {
    std::error_code ignored;  // a destructor reports nothing; a leftover in /tmp fails no test
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Writes a file of this name; returns its path.
  std::string write(const std::string& name, std::string_view content) const {
    const std::string file = path_ + '/' + name;
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out << content;
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
    return file;
  }

 private:
  std::string path_;
};

}  // namespace penstock::tests
