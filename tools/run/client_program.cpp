#include "tools/run/client_program.h"

#include <fmt/format.h>

#include <optional>

#include "common/escape.h"
#include "tools/cli/help.h"
#include "tools/cli/parser.h"
#include "tools/cli/penstock_table.h"
#include "tools/cli/read_client_command.h"
#include "tools/config/places.h"
#include "tools/config/settings.h"
#include "tools/output/output.h"
#include "tools/run/client_actions.h"
#include "tools/version.h"

namespace penstock::tools {
namespace {

Result<ClientConfigFile> load_config(const ParsedWords& words, const Environment& environment) {
  if (const auto named = words.last("--config")) {
    auto text = read_config_file(*named);
    if (!text) return Error{ErrorCode::CONFIG_INVALID, text.error().message, *named};
    return parse_client_config(*text, *named);
  }
  const auto home = client_home(environment);
  if (!home) return home.error();
  const std::string file = *home + "/config.toml";
  auto text = read_config_file(file);
  if (!text && text.error().code == ErrorCode::NOT_FOUND) return ClientConfigFile{};
  if (!text) return text.error();
  return parse_client_config(*text, file);
}

}  // namespace

int run_client_program(std::span<const std::string> words, std::chrono::steady_clock::time_point started) {
  const ParseOutcome outcome = parse_words(penstock_table, words);
  const ParsedWords& parsed = outcome.words;
  const Verbosity verbosity = parsed.has("-q")   ? Verbosity::quiet
                              : parsed.has("-v") ? Verbosity::verbose
                                                 : Verbosity::normal;
  if (!outcome.error && (parsed.help || parsed.version)) {
    Output out{process_style("penstock", false, verbosity)};
    out.answer(parsed.version   ? fmt::format("penstock {}\n", penstock_version)
               : parsed.command ? command_help(penstock_table, parsed.command_index)
                                : program_help(penstock_table));
    return out.conclude(0);
  }

  Output out{process_style("penstock", parsed.json, verbosity)};
  const std::string_view op = parsed.command ? parsed.command->words : std::string_view{};
  const auto refuse = [&](const Error& error) {
    out.start(op, "");
    return out.error(error);
  };
  if (outcome.error) return refuse(*outcome.error);
  const Environment environment = process_environment();
  const auto config = load_config(parsed, environment);
  if (!config) return refuse(config.error());
  auto command = read_client_command(parsed, *config, environment);
  if (!command) return refuse(command.error());

  out.start(op, peer_words(*command));
  return out.conclude(run_client_command(*command, out, started));
}

}  // namespace penstock::tools
