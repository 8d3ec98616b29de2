#include "control/client/transfer_request.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "common/bytes/view.h"

using namespace penstock;
using namespace penstock::control;

namespace {

const TransferWords push_words{.sources = {{.path = "tree", .last_name = "tree", .contents = true}},
                               .destination = "/inbox/tree",
                               .container = true};
const TransferWords pull_words{
    .sources = {{.path = "/data/f", .last_name = "f", .contents = false}}, .destination = "here", .container = false};

}  // namespace

TEST_CASE("transfer request: a local path counts as absolute, so that one command is one transfer from anywhere") {
  const auto here = std::filesystem::current_path().string();
  CHECK(absolute_local("tree", false) == here + "/tree");
  CHECK(absolute_local("./x/../tree//", false) == here + "/tree");
  CHECK(absolute_local("tree", true) == here + "/tree/.");
  CHECK(absolute_local("/", false) == "/");

  TransferWords absolute = push_words;
  absolute.sources.front().path = here + "/tree";
  const TransferOptions options;
  CHECK(resume_key_of({ReceiptOperation::push, push_words, options}, Pin{}) ==
        resume_key_of({ReceiptOperation::push, absolute, options}, Pin{}));
}

TEST_CASE("transfer request: whatever changes the outcome makes another transfer; speed does not") {
  TransferOptions options;
  const TransferRequest request{ReceiptOperation::push, push_words, options};
  const auto key = resume_key_of(request, Pin{});
  options.rate = DataRate::megabits_per_second(5);
  options.congestion = CongestionKind::fixed;
  options.report_files = true;
  CHECK(resume_key_of(request, Pin{}) == key);
  options.overwrite = OverwriteMode::skip;
  const auto skip = resume_key_of(request, Pin{});
  CHECK(skip != key);
  options.links = LinkMode::follow;
  CHECK(resume_key_of(request, Pin{}) != skip);
  options = {};
  options.digest = DigestKind::sha256;
  CHECK(resume_key_of(request, Pin{}) != key);
}

TEST_CASE("transfer request: a push keeps its local paths to itself, a pull names what it asks for") {
  const TransferOptions options;
  const auto push = open_message_of({ReceiptOperation::push, push_words, options}, Pin{}, std::nullopt, true);
  CHECK(push.direction() == proto::PUSH);
  CHECK(push.roots(0).path().empty());
  CHECK(push.roots(0).name() == "tree");
  CHECK(push.roots(0).contents());
  CHECK(push.destination() == "/inbox/tree");
  CHECK(push.destination_is_container());
  CHECK(push.transfer_id().empty());
  const auto pull = open_message_of({ReceiptOperation::pull, pull_words, options}, Pin{}, std::nullopt, true);
  CHECK(pull.direction() == proto::PULL);
  CHECK(pull.roots(0).path() == "/data/f");
  CHECK(pull.destination() == "here");  // for the receipt: as the user wrote it, nothing more of this machine
}

TEST_CASE("transfer request: every option that the daemon acts on reaches it") {
  TransferOptions options;
  options.rate = DataRate::megabits_per_second(7);
  options.congestion = CongestionKind::fixed;
  options.digest = DigestKind::sha256;
  options.dry_run = true;
  storage::TransferId id{};
  id.fill(std::byte{5});
  const TransferRequest request{ReceiptOperation::push, push_words, options};
  const auto open = open_message_of(request, Pin{}, id, false);
  CHECK(open.rate_bps() == 7'000'000);
  CHECK(open.congestion() == "fixed");
  CHECK(open.digest() == proto::SHA256);
  CHECK(open.dry_run());
  CHECK_FALSE(open.resume());
  CHECK(open.transfer_id() == bytes::as_text(id));
  CHECK(open.resume_key() == bytes::as_text(resume_key_of(request, Pin{})));

  using Modes = std::pair<OverwriteMode, proto::Overwrite>;
  for (const auto& [mode, word] :
       {Modes{OverwriteMode::never, proto::NEVER}, Modes{OverwriteMode::skip, proto::SKIP},
        Modes{OverwriteMode::changed, proto::CHANGED}, Modes{OverwriteMode::always, proto::ALWAYS}}) {
    options.overwrite = mode;
    CHECK(open_message_of(request, Pin{}, std::nullopt, true).overwrite() == word);
  }
  using LinkModes = std::pair<LinkMode, proto::Links>;
  for (const auto& [mode, word] : {LinkModes{LinkMode::keep, proto::KEEP}, LinkModes{LinkMode::follow, proto::FOLLOW},
                                   LinkModes{LinkMode::skip, proto::LINKS_SKIP}}) {
    options.links = mode;
    CHECK(open_message_of(request, Pin{}, std::nullopt, true).links() == word);
  }
}
