#include "control/registry/registry.h"

namespace penstock::control {

std::string_view to_string(TokenRefusal refusal) {
  switch (refusal) {
    case TokenRefusal::unknown:
      return "unknown token";
    case TokenRefusal::wrong_secret:
      return "wrong secret";
    case TokenRefusal::expired:
      return "expired token";
    case TokenRefusal::used:
      return "used token";
    case TokenRefusal::revoked:
      return "revoked token";
    case TokenRefusal::key_in_use:
      return "key in use";
  }
  return "?";
}

}  // namespace penstock::control
