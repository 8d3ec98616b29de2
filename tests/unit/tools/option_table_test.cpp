#include "tools/cli/option_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "tools/cli/penstock_table.h"
#include "tools/cli/penstockd_table.h"
#include "tools/config/settings.h"

namespace penstock::tools {
namespace {

const ProgramSpec* const tables[] = {&penstock_table, &penstockd_table};

TEST_CASE("option table: whether an option takes a value never depends on the command") {
  for (const auto* table : tables)
    for (const auto& a : table->options)
      for (const auto& b : table->options)
        if (a.name == b.name) CHECK_MESSAGE(a.takes_value() == b.takes_value(), std::string{a.name});
}

TEST_CASE("option table: one command never meets two rows of one name") {
  for (const auto* table : tables)
    for (std::size_t i = 0; i < table->options.size(); ++i)
      for (std::size_t j = i + 1; j < table->options.size(); ++j) {
        const auto& a = table->options[i];
        const auto& b = table->options[j];
        const bool same =
            a.name == b.name || (!a.short_name.empty() && (a.short_name == b.short_name || a.short_name == b.name));
        if (same) CHECK_MESSAGE((a.commands.bits & b.commands.bits) == 0, std::string{a.name});
      }
}

TEST_CASE("option table: every row says what it is, on at least one command") {
  for (const auto* table : tables) {
    for (const auto& spec : table->options) {
      INFO(std::string{spec.name});
      CHECK_FALSE(spec.help.empty());
      CHECK(spec.commands.bits != 0);
      CHECK(spec.name.starts_with('-'));
      if (!spec.name.starts_with("--")) CHECK(spec.name.size() == 2);
      if (!spec.short_name.empty()) CHECK(spec.short_name.size() == 2);
      // `-P2222` and `-rv` could not be told apart otherwise.
      if (!spec.name.starts_with("--") && spec.standing == Standing::offered) CHECK_FALSE(spec.takes_value());
    }
    for (const auto& command : table->commands) CHECK_FALSE(command.summary.empty());
  }
}

TEST_CASE("option table: every command, option and reserved word of the contract is there") {
  const auto commands_of = [](const ProgramSpec& table) {
    std::set<std::string> names;
    for (const auto& command : table.commands) names.emplace(command.words);
    return names;
  };
  CHECK(commands_of(penstock_table) ==
        std::set<std::string>{"register", "push", "pull", "ls", "stat", "mkdir", "rm", "digest", "mv", "ping",
                              "receipt list", "receipt show", "receipt verify", "receipt check", "hosts list",
                              "hosts forget", "partials list", "partials purge", "completion"});
  CHECK(commands_of(penstockd_table) == std::set<std::string>{"serve", "token", "tokens list", "tokens revoke",
                                                              "clients list", "clients grant", "clients revoke",
                                                              "status", "sessions", "cancel", "partials list",
                                                              "partials purge", "backup", "check-config"});
  const auto has = [](const ProgramSpec& table, std::string_view name, Standing standing) {
    return std::ranges::any_of(table.options, [&](const OptionSpec& spec) {
      return (spec.name == name || spec.short_name == name) && spec.standing == standing;
    });
  };
  for (const auto* name :
       {"--cc",         "--rate",        "--fec",       "--lanes", "--data",   "--mtu",     "--digest",
        "--overwrite",  "--resume",      "--no-resume", "--links", "-n",       "--dry-run", "--connect-timeout",
        "--timeout",    "--json",        "-q",          "-v",      "--config", "--version", "--token",
        "--token-file", "--fingerprint", "--ca",        "--sums"})
    CHECK_MESSAGE(has(penstock_table, name, Standing::offered), name);
  for (const auto* name : {"-r", "-a", "-p"}) CHECK_MESSAGE(has(penstock_table, name, Standing::ignored), name);
  for (const auto* name : {"--delete", "-u", "-z", "--checksum", "--ssh", "--xattrs", "--acls", "--include",
                           "--exclude", "--files-from", "-0", "--remove-source"})
    CHECK_MESSAGE(has(penstock_table, name, Standing::reserved), name);
  CHECK(has(penstock_table, "-P", Standing::refused));
  for (const auto* name : {"--root", "--config", "--state", "--listen", "--udp-advertise", "--cert", "--key",
                           "--log-format", "--user", "--grant", "--ttl", "--json"})
    CHECK_MESSAGE(has(penstockd_table, name, Standing::offered), name);
  CHECK(has(penstockd_table, "--invite", Standing::reserved));
}

TEST_CASE("option table: what accumulates is what the contract lets accumulate") {
  std::set<std::string> accumulating;
  for (const auto* table : tables)
    for (const auto& spec : table->options)
      if (spec.repeat == Repeat::accumulates) accumulating.emplace(spec.name);
  CHECK(accumulating == std::set<std::string>{"--grant", "--include", "--exclude", "--listen"});
}

TEST_CASE("option table: a setting named by an option is a key of the configuration file") {
  for (const auto& spec : penstock_options)
    if (!spec.setting.empty()) CHECK(std::ranges::count(client_settings, spec.setting, &SettingSpec::key) == 1);
  for (const auto& spec : penstockd_options)
    if (!spec.setting.empty()) CHECK(std::ranges::count(daemon_settings, spec.setting, &SettingSpec::key) == 1);
}

}  // namespace
}  // namespace penstock::tools
