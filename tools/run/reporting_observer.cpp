#include "tools/run/reporting_observer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "common/escape.h"
#include "control/client/busy_patience.h"
#include "tools/output/quantities.h"

namespace penstock::tools {
namespace {

std::chrono::system_clock::time_point wall_time(std::int64_t since_1970_ns) {
  return std::chrono::system_clock::time_point{
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds{since_1970_ns})};
}

std::string mode_letters(control::EntryKind kind, std::uint32_t mode) {
  const char type = kind == control::EntryKind::directory ? 'd'
                    : kind == control::EntryKind::symlink ? 'l'
                    : kind == control::EntryKind::special ? '?'
                                                          : '-';
  std::string out{type};
  static constexpr std::string_view letters = "rwxrwxrwx";
  for (std::size_t i = 0; i < letters.size(); ++i) out += (mode >> (8 - i) & 1) != 0 ? letters[i] : '-';
  return out;
}

std::string shown(std::string_view name, bool escape) { return escape ? escape_for_display(name) : std::string{name}; }

std::string join_path(const std::string& directory, const std::string& name) {
  if (directory.empty()) return name;
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

}  // namespace

std::string listing_line(const control::RemoteEntry& entry, bool long_format, bool escape) {
  if (!long_format) return shown(entry.name, escape) + "\n";
  std::string out = fmt::format("{} {:>15} {:%Y-%m-%d %H:%M:%S} {}", mode_letters(entry.kind, entry.mode), entry.size,
                                fmt::localtime(std::chrono::system_clock::to_time_t(wall_time(entry.mtime_ns))),
                                shown(entry.name, escape));
  if (entry.kind == control::EntryKind::symlink) out += fmt::format(" -> {}", shown(entry.link_target, escape));
  return out + "\n";
}

std::string stat_text(const control::RemoteEntry& entry, const std::string& path, bool escape) {
  std::string out =
      fmt::format("path   {}\ntype   {}\nsize   {}\nmode   {:04o}\nmtime  {}\n", shown(path, escape),
                  control::to_string(entry.kind), entry.size, entry.mode, rfc3339(wall_time(entry.mtime_ns)));
  if (entry.kind == control::EntryKind::symlink) out += fmt::format("link   {}\n", shown(entry.link_target, escape));
  return out;
}

void add_entry_fields(JsonLine& line, const control::RemoteEntry& entry, const std::string& path) {
  line.path("path", path)
      .path("name", entry.name)
      .text("type", control::to_string(entry.kind))
      .number("size", entry.size)
      .text("mode", fmt::format("{:04o}", entry.mode))
      .text("mtime", rfc3339(wall_time(entry.mtime_ns)))
      .signed_number("mtime_ns", entry.mtime_ns);
  if (entry.kind == control::EntryKind::symlink) line.path("link_target", entry.link_target);
}

void ReportingObserver::on_connected(const control::Connected& connected) {
  output_.event("connected", [&](JsonLine& line) {
    line.text("peer", connected.peer)
        .text("address", connected.address)
        .text("software", connected.software)
        .text("user", connected.user)
        .text("fingerprint", connected.fingerprint)
        .flag("again", connected.again);
  });
  output_.detail(fmt::format("{} to {} ({}), {}, as {}, fingerprint {}",
                             connected.again ? "connected again" : "connected", connected.peer, connected.address,
                             connected.software, connected.user, connected.fingerprint));
}

void ReportingObserver::on_registered(const std::string& uuid) {
  output_.event("registered", [&](JsonLine& line) { line.text("uuid", uuid); });
  output_.note(fmt::format("registered as {}", uuid));
}

void ReportingObserver::on_started(const control::TransferStarted& started) {
  output_.set_transfer(started.transfer);
  output_.event("transfer", [&](JsonLine& line) { line.flag("resuming", started.resuming); });
  output_.detail(fmt::format("transfer {}{}", started.transfer, started.resuming ? ", resuming" : ""));
}

void ReportingObserver::on_progress(const control::Progress& progress) {
  output_.progress(progress, asked_.exchange(false));
}

void ReportingObserver::on_warning(const control::Warning& warning) { output_.warning(warning.error); }

void ReportingObserver::on_data_turn(const control::DataTurn& turn) {
  if (turn.away_from_udp) return output_.warning({ErrorCode::UDP_BLOCKED, turn.message});
  output_.event("data", [&](JsonLine& line) { line.text("data", turn.data).text("message", turn.message); });
  output_.note(fmt::format("penstock: {}", turn.message));
}

void ReportingObserver::on_mark_news(const std::string& message) {
  output_.event("ecn", [&](JsonLine& line) { line.text("message", message); });
  output_.detail(message);
}

void ReportingObserver::on_file(const control::FileNews& file) {
  // Files are counted, as in `done` and in the receipt; links are shown alone.
  if (file.kind == control::EntryKind::regular) count(file);
  output_.event("file", [&](JsonLine& line) {
    line.path("path", file.path)
        .text("type", control::to_string(file.kind))
        .number("bytes", file.bytes)
        .text_or_null("digest", file.digest)
        .text("action", control::to_string(file.action));
  });
  // Also for --dry-run without -v: the lines are what was asked for.
  if (!output_.json())
    output_.note(fmt::format("{:7}  {:>8}  {}{}{}", control::to_string(file.action), show_bytes(file.bytes),
                             escape_for_display(file.path), file.digest.empty() ? "" : "  ", file.digest));
}

void ReportingObserver::count(const control::FileNews& file) {
  switch (file.action) {
    case control::FileAction::send:
    case control::FileAction::replace:
      ++files_.wanted;
      files_.wanted_bytes += file.bytes;
      break;
    case control::FileAction::skip:
      ++files_.skipped;
      files_.skipped_bytes += file.bytes;
      break;
    case control::FileAction::refuse:
      ++files_.refused;
      break;
  }
}

void ReportingObserver::on_entry(const control::RemoteEntry& entry) {
  ++entries_;
  output_.event("entry",
                [&](JsonLine& line) { add_entry_fields(line, entry, join_path(listing_.directory, entry.name)); });
  output_.answer(listing_line(entry, listing_.long_format, output_.escape_answers()));
}

void ReportingObserver::on_reconnecting(const Error& cause, unsigned attempt) {
  output_.event("reconnecting", [&](JsonLine& line) {
    line.number("attempt", attempt).text("name", error_traits(cause.code).name).text("message", cause.message);
  });
  if (cause.code == ErrorCode::SERVER_BUSY)
    output_.note(fmt::format("the daemon is busy ({}); trying again, attempt {}",
                             control::BusyPatience::reason_of(cause), attempt));
  else
    output_.note(fmt::format("connection lost ({}); trying again, attempt {}", cause.message, attempt));
}

}  // namespace penstock::tools
