#include "control/session/fast_path_words.h"

#include "common/crypto/aead.h"
#include "common/crypto/cpu_features.h"

namespace penstock::control {

std::vector<std::string> fast_path_words(const io::FastPaths& paths) {
  auto words = io::words_of(paths);
  words.push_back("aead=" + std::string{crypto::aead_backends().front()->name()});
  words.push_back("cpu=" + crypto::cpu_features());
  return words;
}

}  // namespace penstock::control
