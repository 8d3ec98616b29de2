#include "control/gate/key_exchange.h"

#include <algorithm>

#include "common/digest/sha256.h"
#include "common/utf8.h"
#include "control/gate/exchange_words.h"

namespace penstock::control {

std::array<std::byte, 32> wrap_label(const Uuid& uuid, const ChannelBinding& binding) {
  // All three parts have a fixed length, so no two inputs run together into one.
  digest::Sha256Hasher hasher;
  hasher.update(uuid.bytes);
  hasher.update(binding.daemon.sha256);
  hasher.update(binding.bind);
  return hasher.digest().bytes;
}

std::optional<crypto::AeadAlgorithm> choose_suite(std::span<const crypto::AeadAlgorithm> client,
                                                  std::span<const crypto::AeadAlgorithm> daemon) {
  using crypto::AeadAlgorithm;
  const auto both = [&](AeadAlgorithm suite) {
    return std::ranges::find(client, suite) != client.end() && std::ranges::find(daemon, suite) != daemon.end();
  };
  if (client.empty() || daemon.empty()) return std::nullopt;
  if (client.front() == AeadAlgorithm::aes_256_gcm && daemon.front() == AeadAlgorithm::aes_256_gcm)
    return AeadAlgorithm::aes_256_gcm;
  for (const auto suite : {AeadAlgorithm::chacha20_poly1305, AeadAlgorithm::aes_256_gcm})
    if (both(suite)) return suite;
  return std::nullopt;
}

bool are_lane_ids(const std::vector<ConnectionId>& ids) {
  if (ids.empty() || ids.size() > crypto::lanes_max) return false;
  auto sorted = ids;
  std::ranges::sort(sorted);
  return std::ranges::adjacent_find(sorted) == sorted.end();
}

std::vector<std::string> common_capabilities(const std::vector<std::string>& ours,
                                             const google::protobuf::RepeatedPtrField<std::string>& theirs) {
  const auto count = std::min(static_cast<std::size_t>(theirs.size()), capabilities_max);
  const auto end = theirs.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<std::string> both;
  std::ranges::copy_if(ours, std::back_inserter(both),
                       [&](const std::string& name) { return std::find(theirs.begin(), end, name) != end; });
  return both;
}

std::string short_text(std::string_view text) {
  auto valid = utf8_with_replacements(text.substr(0, short_text_max));
  if (valid.size() <= short_text_max) return valid;
  // A replacement takes three bytes for one at most.
  return utf8_with_replacements(text.substr(0, short_text_max / 3));
}

}  // namespace penstock::control
