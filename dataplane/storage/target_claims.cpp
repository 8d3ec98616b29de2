#include "dataplane/storage/target_claims.h"

namespace penstock::storage {

bool TargetClaims::claim(const Target& target, Writer writer) {
  const std::lock_guard lock(mutex_);
  return claims_.emplace(target, writer).first->second == writer;
}

void TargetClaims::release(const Target& target, Writer writer) {
  const std::lock_guard lock(mutex_);
  const auto found = claims_.find(target);
  if (found != claims_.end() && found->second == writer) claims_.erase(found);
}

void TargetClaims::release_all(Writer writer) {
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [&](const auto& entry) { return entry.second == writer; });
}

}  // namespace penstock::storage
