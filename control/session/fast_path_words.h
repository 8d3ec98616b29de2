#pragma once

#include <string>
#include <vector>

#include "dataplane/io/fast_paths.h"

namespace penstock::control {

/// All that makes this end fast, a word each: io::words_of, then the best AEAD backend and what the processor brings
/// for it ("aead=ipsec-mb", "cpu=aes,pclmul,avx2,vaes,avx512").
[[nodiscard]] std::vector<std::string> fast_path_words(const io::FastPaths& paths);

}  // namespace penstock::control
