#include "control/transfer/resume_key.h"

#include "common/bytes/view.h"
#include "common/digest/sha256.h"

namespace penstock::control {

std::array<std::byte, 32> resume_key_of(const TransferIdentity& identity) {
  digest::Sha256Hasher hasher;
  const auto add = [&](std::string_view word) {
    // The length before each word keeps ("ab", "c") apart from ("a", "bc").
    std::array<std::byte, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<std::byte>(word.size() >> (8 * i));
    hasher.update(length);
    hasher.update(bytes::as_bytes(word));
  };
  add("penstock/1 resume");
  add(identity.operation);
  add(to_string(identity.daemon));
  add(std::to_string(identity.sources.size()));
  for (const auto& source : identity.sources) add(source);
  add(identity.destination);
  add(identity.container ? "container" : "target");
  add(identity.overwrite);
  add(identity.digest);
  add(identity.links);
  return hasher.digest().bytes;
}

}  // namespace penstock::control
