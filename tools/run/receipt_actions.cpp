#include "tools/run/receipt_actions.h"

#include <fmt/format.h>

#include <span>
#include <vector>

#include "common/bytes/hex.h"
#include "common/escape.h"
#include "control/gate/client_home.h"
#include "control/receipt/receipt.h"
#include "control/receipt/receipt_store.h"
#include "tools/output/quantities.h"
#include "tools/output/summary.h"

namespace penstock::tools {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out.append(out.empty() ? "" : " ").append(escape_for_display(word));
  return out;
}

Result<control::Receipt> read_and_verify(const std::string& home, const std::string& file) {
  auto receipt = control::read_receipt(file);
  if (!receipt) return receipt.error();
  const auto opened = control::ClientHome::open(home);
  if (!opened) return opened.error();
  const auto daemons = opened->daemons();
  if (!daemons) return daemons.error();
  std::vector<control::Pin> trusted;
  for (const auto& daemon : *daemons) {
    const auto pins = daemon.all_pins();
    trusted.insert(trusted.end(), pins.begin(), pins.end());
  }
  if (auto verified = control::verify_receipt(*receipt, std::span<const control::Pin>{trusted}); !verified)
    return verified.error();
  return receipt;
}

void add_receipt_fields(JsonLine& line, const control::ReceiptHeaderFields& fields, const std::string& file) {
  line.text("id", fields.transfer)
      .text("op", control::to_string(fields.operation))
      .text("user", fields.user)
      .text("started", fields.started)
      .text("finished", fields.finished)
      .number("files", fields.files)
      .number("bytes", fields.bytes)
      .text("digest_algorithm", control::to_string(fields.digest))
      .text("digest", "sha256:" + bytes::to_hex(fields.list_sha256))
      .texts("sources", fields.sources)
      .path("destination", fields.destination)
      .text("daemon", control::to_string(fields.daemon))
      .text_or_null("limited_by", fields.limited_by)
      .path("path", file);
}

}  // namespace

Result<std::uint64_t> list_receipts(const std::string& home, Output& out) {
  const auto listed = control::ReceiptStore::of_home(home).list();
  if (!listed) return listed.error();
  for (const auto& receipt : *listed) {
    const auto& file = receipt.file;
    const auto& fields = receipt.fields;
    out.event("entry", [&](JsonLine& line) { add_receipt_fields(line, fields, file.native()); });
    out.answer(fmt::format("{}  {}  {}  {} file{}  {}  {}\n", fields.transfer, fields.finished,
                           control::to_string(fields.operation), fields.files, fields.files == 1 ? "" : "s",
                           show_bytes(fields.bytes), escape_for_display(fields.destination)));
  }
  return std::uint64_t{listed->size()};
}

Status show_receipt(const std::string& home, const ReceiptShowCommand& command, Output& out) {
  const auto file = control::ReceiptStore::of_home(home).find(command.id);
  if (!file) return file.error();
  const auto receipt = control::read_receipt(*file);
  if (!receipt) return receipt.error();
  const auto& fields = receipt->header;
  if (!command.sums) {
    out.event("entry", [&](JsonLine& line) { add_receipt_fields(line, fields, file->native()); });
    out.answer(
        fmt::format("receipt      {}\noperation    {}\ndaemon       {}\nuser         {} ({})\nsources      {}\n"
                    "destination  {}\nstarted      {}\nfinished     {}\nfiles        {}\nbytes        {} ({})\n"
                    "digests      {}\nlimited by   {}\nfile         {}\n",
                    fields.transfer, control::to_string(fields.operation), control::to_string(fields.daemon),
                    escape_for_display(fields.user), escape_for_display(fields.uuid), joined(fields.sources),
                    escape_for_display(fields.destination), fields.started, fields.finished, fields.files, fields.bytes,
                    show_bytes(fields.bytes), control::to_string(fields.digest), escape_for_display(fields.limited_by),
                    escape_for_display(file->native())));
    return {};
  }
  for (const auto& line : receipt->lines) {
    const std::string hex = bytes::to_hex(line.digest);
    out.event("file", [&](JsonLine& json) {
      json.path("path", line.path)
          .number("bytes", line.size)
          .text("digest", fmt::format("{}:{}", control::to_string(fields.digest), hex));
    });
    out.answer(sum_line(hex, line.path, out.escape_answers()));
  }
  return {};
}

Status verify_receipt_file(const std::string& home, const std::string& file, Output& out) {
  const auto receipt = read_and_verify(home, file);
  if (!receipt) return receipt.error();
  const auto& fields = receipt->header;
  out.event("entry", [&](JsonLine& line) { add_receipt_fields(line, fields, file); });
  out.answer(fmt::format("{}: good signature of {} for the {} of {} file{}, {}, finished {}\n",
                         escape_for_display(file), control::to_string(fields.daemon),
                         control::to_string(fields.operation), fields.files, fields.files == 1 ? "" : "s",
                         show_bytes(fields.bytes), fields.finished));
  out.note(control::receipt_assurance(fields.digest));
  return {};
}

Result<std::uint64_t> check_receipt_file(const std::string& home, const ReceiptCheckCommand& command, Output& out) {
  const auto receipt = read_and_verify(home, command.file);
  if (!receipt) return receipt.error();
  const auto compared =
      control::check_receipt(*receipt, command.directory, [&](const Error& bad) { out.warning(bad); });
  if (!compared) return compared.error();
  out.answer(fmt::format("{}: all {} files beneath {} are as the receipt says\n", escape_for_display(command.file),
                         *compared, escape_for_display(command.directory)));
  out.note(control::receipt_assurance(receipt->header.digest));
  return *compared;
}

}  // namespace penstock::tools
