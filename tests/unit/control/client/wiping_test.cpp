#include <doctest/doctest.h>
#include <malloc.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "tests/unit/control/client/scene.h"

// No memory goes back to the allocator that holds a token's secret, neither as bytes nor as the token's text. So this
// executable has an allocator of its own, OpenSSL's included, which looks into what it is given back.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

// In the text the secret begins with a group of four characters, and fills ten of them but for two bytes.
constexpr std::size_t text_before = token_prefix.size() + 12;
constexpr std::size_t text_size = 40;

std::array<char, token_secret_size> wanted_bytes{};
std::array<char, text_size> wanted_text{};
std::atomic<bool> looking = false;
std::atomic<int> found = 0;

void look_into(void* block) {
  if (block == nullptr || !looking) return;
  const std::string_view content{static_cast<const char*>(block), ::malloc_usable_size(block)};
  const auto holds = [&](std::string_view what) { return content.find(what) != content.npos; };
  if (holds({wanted_bytes.data(), wanted_bytes.size()}) || holds({wanted_text.data(), wanted_text.size()})) ++found;
}

void* openssl_allocate(std::size_t size, const char*, int) { return std::malloc(size); }
void openssl_free(void* block, const char*, int) {
  look_into(block);
  std::free(block);
}
void* openssl_grow(void* block, std::size_t size, const char* file, int line) {
  void* const other = std::malloc(size);
  if (block != nullptr && other != nullptr) std::memcpy(other, block, std::min(size, ::malloc_usable_size(block)));
  openssl_free(block, file, line);
  return other;
}

const bool openssl_is_watched = CRYPTO_set_mem_functions(openssl_allocate, openssl_grow, openssl_free) == 1;

/// Between its two ends the secret of this token is looked for.
class Search {
 public:
  explicit Search(const std::string& text) {
    const auto token = decode_token(text);
    REQUIRE(token);
    std::memcpy(wanted_bytes.data(), token->secret.view().data(), wanted_bytes.size());
    REQUIRE(text.size() > text_before + text_size);
    std::memcpy(wanted_text.data(), text.data() + text_before, text_size);
    found = 0;
    looking = true;
  }
  ~Search() { looking = false; }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;
  [[nodiscard]] int finds() const { return found; }
};

}  // namespace

// Not inlined: g++ would see one's malloc or the other's free alone, and call the pair mismatched.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const block = std::malloc(std::max<std::size_t>(size, 1))) return block;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  look_into(block);
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept { operator delete(block); }

TEST_CASE("wiping: what is looked for is found where it is left") {
  REQUIRE(openssl_is_watched);
  const Token token = make_token(Pin{}, "");
  const std::string text = encode_token(token);
  const Search search{text};
  { const std::string left{reinterpret_cast<const char*>(token.secret.view().data()), token.secret.size()}; }
  CHECK(search.finds() == 1);
  { const std::string left = text; }
  CHECK(search.finds() == 2);
  void* const block = OPENSSL_malloc(100);
  REQUIRE(block != nullptr);
  std::memcpy(static_cast<char*>(block) + 7, token.secret.view().data(), token.secret.size());
  OPENSSL_free(block);
  CHECK(search.finds() == 3);
}

TEST_CASE("wiping: a registration leaves the token's secret in no memory of client or daemon") {
  TempDir home;
  Listener listener;
  Daemon daemon;
  const std::string text = daemon.token();
  ClientConfig config;
  config.home = home.path() / "home";
  config.host = "127.0.0.1";
  config.port = daemon.port();
  const Search search{text};
  SUBCASE("that succeeds") {
    Client client{config, listener};
    const auto registered = client.register_client(text);
    if (!registered) FAIL(registered.error().message);
  }
  SUBCASE("that is refused") {
    auto registry = open_sqlite_registry(daemon.state());
    REQUIRE(registry);
    REQUIRE((*registry)->revoke_token(decode_token(text)->id, UnixSeconds{unix_now()}));
    Client client{config, listener};
    CHECK_FALSE(client.register_client(text));
  }
  CHECK(daemon.stops_by_itself());
  CHECK(search.finds() == 0);
}
