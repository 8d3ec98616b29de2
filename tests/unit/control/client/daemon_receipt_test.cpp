#include "control/client/daemon_receipt.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/gate/identity.h"

using namespace penstock;
using namespace penstock::control;

namespace {

/// A daemon that signs. One for all cases: making an RSA key takes a while.
struct Daemon {
  Daemon()
      : directory([] {
          std::string pattern = (std::filesystem::temp_directory_path() / "penstock-signer-XXXXXX").string();
          REQUIRE(::mkdtemp(pattern.data()) != nullptr);
          return pattern;
        }()),
        identity(Identity::load_or_create(directory).value()),
        key(ReceiptKey::load_or_create(directory, identity).value()) {}
  ~Daemon() { std::filesystem::remove_all(directory); }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  static Daemon& instance() {
    static Daemon daemon;
    return daemon;
  }

  std::string directory;
  Identity identity;
  ReceiptKey key;
};

std::vector<ReceiptLine> our_list() { return {{"a", 3, std::vector<std::byte>(16, std::byte{1})}}; }

storage::TransferId our_transfer() {
  storage::TransferId id{};
  id.fill(std::byte{0x5a});
  return id;
}

/// What the daemon sends for a push of `lines`.
proto::ReceiptHeader header_for(const std::vector<ReceiptLine>& lines) {
  auto& daemon = Daemon::instance();
  ReceiptHeaderFields fields;
  fields.transfer = bytes::to_hex(our_transfer());
  fields.daemon = daemon.identity.pin();
  fields.receipt_key = daemon.key.public_key();
  fields.user = "ann";
  fields.uuid = "01234567-89ab-4cde-8f01-23456789abcd";
  fields.sources = {"/home/ann/a"};
  fields.destination = "/a";
  fields.started = "2026-01-02T03:04:05Z";
  fields.finished = "2026-01-02T03:04:06Z";
  fields.limited_by = "path";
  fields.files = lines.size();
  for (const auto& line : lines) fields.bytes += line.size;
  fields.list_sha256 = receipt_list_sha256(lines);
  proto::ReceiptHeader header;
  header.set_text(encode_receipt_header(fields));
  const auto signature = daemon.key.key().sign(bytes::as_bytes(header.text()));
  header.set_signature(std::string{bytes::as_text(signature)});
  return header;
}

Result<Receipt> received(const proto::ReceiptHeader& header, std::vector<ReceiptLine> lines) {
  auto& daemon = Daemon::instance();
  return receipt_of(header, std::move(lines), {daemon.identity.spki().begin(), daemon.identity.spki().end()},
                    daemon.key.certification());
}

ReceiptSubject our_push() { return {our_transfer(), ReceiptOperation::push, Daemon::instance().identity.pin()}; }

}  // namespace

TEST_CASE("daemon receipt: what this daemon has signed for this transfer and this list is taken") {
  const auto receipt = received(header_for(our_list()), our_list());
  REQUIRE(receipt);
  CHECK(judge_receipt(*receipt, our_push()).ok());
}

TEST_CASE("daemon receipt: one for another transfer, operation, daemon or list is refused as the daemon's fault") {
  const auto receipt = received(header_for(our_list()), our_list());
  REQUIRE(receipt);
  auto other_transfer = our_push();
  other_transfer.transfer.fill(std::byte{1});
  auto other_operation = our_push();
  other_operation.operation = ReceiptOperation::pull;
  auto other_daemon = our_push();
  other_daemon.daemon = Pin{};
  for (const auto& subject : {other_transfer, other_operation, other_daemon}) {
    const auto judged = judge_receipt(*receipt, subject);
    REQUIRE_FALSE(judged);
    CHECK(judged.error().code == ErrorCode::SIGNATURE_INVALID);
    CHECK(judged.error().side == ErrorSide::remote);
  }
  auto longer = our_list();
  longer.push_back({"b", 0, std::vector<std::byte>(16)});
  const auto other_list = received(header_for(our_list()), longer);
  REQUIRE(other_list);
  CHECK(judge_receipt(*other_list, our_push()).error().code == ErrorCode::SIGNATURE_INVALID);
}

TEST_CASE("daemon receipt: without a whole signature, or without a header, there is none") {
  auto header = header_for(our_list());
  header.mutable_signature()->pop_back();
  CHECK(received(header, our_list()).error().code == ErrorCode::SIGNATURE_INVALID);
  header = header_for(our_list());
  header.set_text("nonsense");
  CHECK(received(header, our_list()).error().code == ErrorCode::SIGNATURE_INVALID);
}
