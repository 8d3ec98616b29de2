#include "tools/output/summary.h"

#include <fmt/format.h>

#include "common/escape.h"
#include "tools/output/quantities.h"

namespace penstock::tools {

std::string transfer_summary_text(std::string_view verb, const control::TransferSummary& summary, double seconds) {
  std::string out = fmt::format("{} {} file{}, {} in {:.1f} s", verb, summary.files, summary.files == 1 ? "" : "s",
                                show_bytes(summary.bytes), seconds);
  if (summary.goodput_bps > 0) out += fmt::format(": {}", show_rate(summary.goodput_bps));
  if (summary.bytes_resumed > 0) out += fmt::format("; {} resumed", show_bytes(summary.bytes_resumed));
  if (summary.files_skipped > 0)
    out += fmt::format("; {} file{} skipped ({})", summary.files_skipped, summary.files_skipped == 1 ? "" : "s",
                       show_bytes(summary.bytes_skipped));
  if (summary.files_failed > 0) out += fmt::format("; {} left out", summary.files_failed);
  if (summary.packets_sent > 0)
    out += fmt::format(
        "; loss {}", show_share(static_cast<double>(summary.packets_lost) / static_cast<double>(summary.packets_sent)));
  if (!summary.limited_by.empty()) out += fmt::format("; limited by {}", summary.limited_by);
  if (!summary.receipt.empty()) out += fmt::format("; receipt {}", escape_for_display(summary.receipt.native()));
  return out;
}

std::string dry_run_summary_text(std::string_view verb, const DryRunCounts& counts) {
  std::string out = fmt::format("would have {} {} file{}, {}", verb, counts.wanted, counts.wanted == 1 ? "" : "s",
                                show_bytes(counts.wanted_bytes));
  if (counts.skipped > 0) out += fmt::format("; {} file{} skipped", counts.skipped, counts.skipped == 1 ? "" : "s");
  if (counts.refused > 0) out += fmt::format("; {} refused", counts.refused);
  return out;
}

std::string sum_line(std::string_view digest_hex, std::string_view name, bool escape) {
  std::string shown;
  bool escaped = false;
  for (const char c : name) {
    const std::string_view letter = c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : "";
    escaped = escaped || !letter.empty();
    shown += letter.empty() ? std::string_view{&c, 1} : letter;
  }
  if (escape) {
    shown = escape_for_display(name);
    escaped = shown != name;
  }
  return fmt::format("{}{}  {}\n", escaped ? "\\" : "", digest_hex, shown);
}

}  // namespace penstock::tools
