#include "control/receipt/receipt.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "control/gate/identity.h"
#include "control/receipt/receipt_store.h"

using namespace penstock;
using namespace penstock::control;

namespace {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-receipt-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::vector<std::byte> sha256_of(std::string_view text) {
  const auto digest = digest::sha256(bytes::as_bytes(text)).bytes;
  return {digest.begin(), digest.end()};
}

/// One identity for all cases: making an RSA key takes a while.
struct Daemon {
  TempDir state;
  Identity identity;
  ReceiptKey key;
  static Daemon& instance() {
    static Daemon daemon;
    return daemon;
  }

 private:
  Daemon()
      : identity(Identity::load_or_create(state.path()).value()),
        key(ReceiptKey::load_or_create(state.path(), identity).value()) {}
};

Receipt signed_receipt(std::vector<ReceiptLine> lines, ReceiptDigest digest = ReceiptDigest::sha256) {
  auto& daemon = Daemon::instance();
  Receipt receipt;
  receipt.lines = std::move(lines);
  auto& header = receipt.header;
  header.transfer = "000102030405060708090a0b0c0d0e0f";
  header.daemon = daemon.identity.pin();
  header.receipt_key = daemon.key.public_key();
  header.user = "ann";
  header.uuid = "01234567-89ab-4cde-8f01-23456789abcd";
  header.sources = {"/home/ann/tree", std::string{"odd\nname: x%\x7f"}};
  header.destination = "/data";
  header.started = "2026-01-02T03:04:05Z";
  header.finished = "2026-01-02T03:04:06Z";
  header.digest = digest;
  header.limited_by = "path";
  header.files = receipt.lines.size();
  for (const auto& line : receipt.lines) header.bytes += line.size;
  header.list_sha256 = receipt_list_sha256(receipt.lines);
  receipt.signature = daemon.key.key().sign(bytes::as_bytes(encode_receipt_header(header)));
  receipt.daemon_spki.assign(daemon.identity.spki().begin(), daemon.identity.spki().end());
  receipt.key_certification = daemon.key.certification();
  return receipt;
}

std::vector<ReceiptLine> two_lines() { return {{"a", 3, sha256_of("abc")}, {"b/\n50% \xff", 0, sha256_of("")}}; }

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream{path, std::ios::binary} << text;
}

}  // namespace

TEST_CASE("receipt: what is encoded decodes to the same receipt, whatever bytes the names hold") {
  const auto receipt = signed_receipt(two_lines());
  const auto text = encode_receipt(receipt);
  const auto decoded = decode_receipt(text);
  REQUIRE(decoded);
  CHECK(decoded->header == receipt.header);
  CHECK(decoded->lines == receipt.lines);
  CHECK(encode_receipt(*decoded) == text);
  CHECK(verify_receipt(*decoded));
}

TEST_CASE("receipt: every truncation and every flipped bit is refused") {
  const auto text = encode_receipt(signed_receipt(two_lines()));
  const auto valid = [](const std::string& candidate) {
    const auto decoded = decode_receipt(candidate);
    return decoded && verify_receipt(*decoded);
  };
  REQUIRE(valid(text));
  for (std::size_t length = 0; length < text.size(); ++length) CHECK_FALSE(valid(text.substr(0, length)));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string flipped = text;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    CAPTURE(i);
    CHECK_FALSE(valid(flipped));
  }
  CHECK_FALSE(valid(text + "\n"));
}

TEST_CASE("receipt: a signature by a key that the daemon does not vouch for is refused") {
  auto receipt = signed_receipt(two_lines());
  TempDir elsewhere;
  const auto other = ReceiptKey::load_or_create(elsewhere.path(), Daemon::instance().identity);
  REQUIRE(other);
  receipt.header.receipt_key = other->public_key();
  receipt.signature = other->key().sign(bytes::as_bytes(encode_receipt_header(receipt.header)));
  const auto verdict = verify_receipt(receipt);
  REQUIRE_FALSE(verdict);
  CHECK(verdict.error().code == ErrorCode::SIGNATURE_INVALID);
}

TEST_CASE("receipt: a good signature by a daemon that is not trusted is refused") {
  const auto receipt = signed_receipt(two_lines());
  const std::vector<Pin> others{Pin{}};
  const std::vector<Pin> known{Pin{}, receipt.header.daemon};
  CHECK_FALSE(verify_receipt(receipt, others));
  CHECK(verify_receipt(receipt, known));
}

TEST_CASE("receipt: check finds the changed, the missing and the foreign file, and follows no link") {
  TempDir dir;
  const auto receipt = signed_receipt({{"sub/x", 3, sha256_of("abc")}});
  SUBCASE("equal") {
    write_file(dir.path() / "sub/x", "abc");
    const auto checked = check_receipt(receipt, dir.path());
    REQUIRE(checked);
    CHECK(*checked == 1);
  }
  SUBCASE("changed") {
    write_file(dir.path() / "sub/x", "abd");
    const auto checked = check_receipt(receipt, dir.path());
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code == ErrorCode::DIGEST_MISMATCH);
    CHECK(checked.error().path == "sub/x");
  }
  SUBCASE("missing") {
    std::filesystem::create_directories(dir.path() / "sub");
    CHECK(check_receipt(receipt, dir.path()).error().code == ErrorCode::NOT_FOUND);
  }
  SUBCASE("a link to the right bytes") {
    write_file(dir.path() / "y", "abc");
    std::filesystem::create_directories(dir.path() / "sub");
    std::filesystem::create_symlink("../y", dir.path() / "sub/x");
    CHECK(check_receipt(receipt, dir.path()).error().code == ErrorCode::PATH_REFUSED);
  }
}

TEST_CASE("receipt: check names every file that is not as it should be, and ends by the worst") {
  TempDir dir;
  const auto receipt = signed_receipt({{"gone/a", 3, sha256_of("abc")},
                                       {"b", 3, sha256_of("abc")},
                                       {"c", 3, sha256_of("abc")},
                                       {"d", 0, sha256_of("")}});
  write_file(dir.path() / "b", "abd");
  write_file(dir.path() / "c", "abc");
  write_file(dir.path() / "d", "longer");
  std::vector<std::pair<std::string, ErrorCode>> bad;
  const auto checked =
      check_receipt(receipt, dir.path(), [&](const Error& error) { bad.emplace_back(error.path, error.code); });
  CHECK(bad == std::vector<std::pair<std::string, ErrorCode>>{{"gone/a", ErrorCode::NOT_FOUND},
                                                              {"b", ErrorCode::DIGEST_MISMATCH},
                                                              {"d", ErrorCode::DIGEST_MISMATCH}});
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == ErrorCode::DIGEST_MISMATCH);
  CHECK(checked.error().path == "b");
  CHECK(checked.error().message.find("3 of 4 files") == 0);
}

TEST_CASE("receipt: under xxh3 a file's digest is that of its blocks' digests") {
  TempDir dir;
  const std::string bytes(3 * 1024 * 1024 / 2, 'q');
  write_file(dir.path() / "x", bytes);
  const auto first = digest::xxh3(bytes::as_bytes(std::string_view{bytes}.substr(0, 1 << 20)));
  const auto second = digest::xxh3(bytes::as_bytes(std::string_view{bytes}.substr(1 << 20)));
  std::vector<std::byte> blocks{first.bytes.begin(), first.bytes.end()};
  blocks.insert(blocks.end(), second.bytes.begin(), second.bytes.end());
  const auto digest = digest::xxh3(blocks).bytes;
  const auto receipt = signed_receipt({{"x", bytes.size(), {digest.begin(), digest.end()}}}, ReceiptDigest::xxh3);
  CHECK(check_receipt(receipt, dir.path()));
  CHECK(receipt_assurance(ReceiptDigest::xxh3).find("no evidence against tampering") != std::string_view::npos);
}

TEST_CASE("receipt store: a list that was never in memory as a whole gives the same file") {
  TempDir whole;
  TempDir streamed;
  std::vector<ReceiptLine> lines;
  for (int i = 100'000; i < 102'000; ++i) lines.push_back({"name/" + std::to_string(i), 5, sha256_of("x")});
  const auto receipt = signed_receipt(lines);
  ReceiptList list{-1};
  for (const auto& line : lines) REQUIRE(list.add(line).ok());
  REQUIRE(list.finish().ok());
  CHECK(list.sha256() == receipt.header.list_sha256);
  CHECK(list.files() == receipt.header.files);
  CHECK(list.bytes() == receipt.header.bytes);
  auto head = receipt;
  head.lines.clear();
  const auto a = ReceiptStore::of_home(whole.path()).store(receipt);
  const auto b = ReceiptStore::of_home(streamed.path()).store(head, list);
  REQUIRE((a.ok() && b.ok()));
  const auto text = [](const std::filesystem::path& file) {
    std::ifstream in{file, std::ios::binary};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  };
  CHECK(text(*a) == text(*b));
  const auto read = read_receipt(*b);
  REQUIRE(read);
  CHECK(verify_receipt(*read));
  CHECK(read->lines == lines);
}

TEST_CASE("receipt store: a receipt is found by any beginning that is its alone") {
  TempDir dir;
  const auto store = ReceiptStore::of_home(dir.path());
  auto receipt = signed_receipt(two_lines());
  REQUIRE(store.store(receipt));
  receipt.header.transfer = "00ffffffffffffffffffffffffffffff";
  REQUIRE(store.store(receipt));
  REQUIRE(store.list());
  CHECK(store.list()->size() == 2);
  REQUIRE(store.find("0001"));
  const auto read = read_receipt(*store.find("0001"));
  REQUIRE(read);
  CHECK(verify_receipt(*read));
  CHECK(store.find("00").error().code == ErrorCode::USAGE);
  CHECK(store.find("01").error().code == ErrorCode::NOT_FOUND);
  CHECK(store.find("").error().code == ErrorCode::NOT_FOUND);
}
