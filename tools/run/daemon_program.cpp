#include "tools/run/daemon_program.h"

#include <fmt/format.h>

#include <variant>

#include "tools/cli/help.h"
#include "tools/cli/parser.h"
#include "tools/cli/penstockd_table.h"
#include "tools/cli/read_daemon_command.h"
#include "tools/config/places.h"
#include "tools/config/settings.h"
#include "tools/output/output.h"
#include "tools/run/registry_actions.h"
#include "tools/run/serve.h"
#include "tools/version.h"

namespace penstock::tools {
namespace {

Result<SettingLayer> load_config(const ParsedWords& words) {
  const auto named = words.last("--config");
  if (!named) return SettingLayer{};
  auto text = read_config_file(*named);
  if (!text) return Error{ErrorCode::CONFIG_INVALID, text.error().message, *named};
  return parse_daemon_config(*text, *named);
}

}  // namespace

int run_daemon_program(std::span<const std::string> words, std::chrono::steady_clock::time_point started) {
  const ParseOutcome outcome = parse_words(penstockd_table, words);
  const ParsedWords& parsed = outcome.words;
  Output out{process_style("penstockd", parsed.json, Verbosity::normal)};
  if (!outcome.error && (parsed.help || parsed.version)) {
    Output plain{process_style("penstockd", false, Verbosity::normal)};
    plain.answer(parsed.version   ? fmt::format("penstockd {}\n", penstock_version)
                 : parsed.command ? command_help(penstockd_table, parsed.command_index)
                                  : program_help(penstockd_table));
    return plain.conclude(0);
  }
  out.start(parsed.command ? parsed.command->words : std::string_view{}, "");
  if (outcome.error) return out.error(*outcome.error);
  const auto config = load_config(parsed);
  if (!config) return out.error(config.error());
  const auto command = read_daemon_command(parsed, *config, process_environment());
  if (!command) return out.error(command.error());

  if (const auto* serve = std::get_if<ServeCommand>(&command->action)) return run_serve(*serve, out);
  const auto finished = [&](const Status& status) {
    if (!status) return out.error(status.error());
    out.done([&](JsonLine& line) {
      line.decimal("seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
    });
    return out.conclude(0);
  };
  if (std::holds_alternative<CheckConfigCommand>(command->action)) {
    out.answer("the configuration is fine\n");
    return finished({});
  }
  return finished(run_registry_action(*command, out));
}

}  // namespace penstock::tools
