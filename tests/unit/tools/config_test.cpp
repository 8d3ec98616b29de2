#include "tools/config/settings.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/unit/tools/words.h"
#include "tools/cli/parser.h"
#include "tools/cli/penstockd_table.h"
#include "tools/cli/read_daemon_command.h"
#include "tools/config/places.h"

namespace penstock::tools {
namespace {

bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("config: client defaults and hosts are read with the place of each value") {
  const auto config = parse_client_config(
      "[defaults]\nrate = \"500M\"\nmtu = 1500\nresume = false\n\n[host.lab]\naddress = \"lab.example.org:7441\"\nrate "
      "= \"1G\"\n",
      "config.toml");
  REQUIRE(config);
  CHECK(config->defaults.find("rate")->texts == std::vector<std::string>{"500M"});
  CHECK(config->defaults.find("rate")->where == "config.toml:2");
  CHECK(config->defaults.find("mtu")->texts == std::vector<std::string>{"1500"});
  CHECK(config->defaults.find("resume")->texts == std::vector<std::string>{"false"});
  CHECK(config->defaults.find("cc") == nullptr);
  REQUIRE(config->hosts.contains("lab"));
  CHECK(config->hosts.at("lab").find("address")->where == "config.toml:7");
  CHECK(config->hosts.at("lab").find("rate")->texts == std::vector<std::string>{"1G"});
}

TEST_CASE("config: an unknown key is refused with file and line") {
  for (const auto* text :
       {"\n\n[defaults]\nrates = 5\n", "\n\n[host.lab]\nhost = \"x\"\n", "\n\n[defaults]\naddress = \"x\"\n",
        "\n\n\nrate = \"5M\"\n", "\n\n\n[servers]\n", "[host]\n\n\nlab = \"x\"\n", "[host.a]\n\n\nx.y = 1\n"}) {
    INFO(text);
    const auto config = parse_client_config(text, "/etc/c.toml");
    REQUIRE_FALSE(config);
    CHECK(config.error().code == ErrorCode::CONFIG_INVALID);
    CHECK_MESSAGE(mentions(config.error().message, "/etc/c.toml:4"), config.error().message);
  }
  const auto daemon = parse_daemon_config("root = \"/\"\nlisten = [\"[::]:7440\"]\nwrong = 1\n", "d.toml");
  REQUIRE_FALSE(daemon);
  CHECK(mentions(daemon.error().message, "d.toml:3"));
  CHECK(mentions(daemon.error().message, "`wrong`"));
}

TEST_CASE("config: a value of another type is refused with file, line and the type that fits") {
  for (const auto* text : {"\nrate = 500\n", "\nmtu = \"1500\"\n", "\nresume = \"true\"\n", "\nresume = 1\n",
                           "\nmtu = 15.0\n", "\ncc = [\"cubic\"]\n", "\nlanes = true\n", "\ntimeout = 07:32:00\n"}) {
    INFO(text);
    const auto config = parse_client_config("[defaults]" + std::string{text}, "c");
    REQUIRE_FALSE(config);
    CHECK(config.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(mentions(config.error().message, "c:2: `"));
  }
  for (const auto* text :
       {"listen = \"[::]:1\"", "listen = [1]", "listen = [\"a\", [\"b\"]]", "sessions_max = 1.5", "root = [\"/\"]"})
    CHECK_FALSE(parse_daemon_config(text, "c"));
}

TEST_CASE("config: what is no TOML is refused with file and line") {
  for (const auto* text : {"root = ", "\nroot = \"x", "root = \"a\"\nroot = \"b\"\n", "[a", "\xff\xfe = 1", "= 1"}) {
    INFO(text);
    const auto config = parse_daemon_config(text, "c");
    REQUIRE_FALSE(config);
    CHECK(config.error().code == ErrorCode::CONFIG_INVALID);
    CHECK(config.error().message.starts_with("c:"));
  }
  CHECK_FALSE(parse_daemon_config("root = \"/a\\u0000b\"", "c"));
  CHECK(parse_daemon_config("", "c"));
  CHECK(parse_client_config("", "c"));
}

std::string example_file() {
  std::ifstream file{PENSTOCK_SOURCE_DIR "/configs/penstockd.toml"};
  REQUIRE(file.is_open());
  return {std::istreambuf_iterator<char>{file}, {}};
}

// The key of a line `key = value`, or of one commented out as `#key = value`, without a space after the `#`.
std::optional<std::string_view> key_of(std::string_view line) {
  if (line.starts_with('#')) line.remove_prefix(1);
  const auto end = line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  if (end == 0 || end == std::string_view::npos || !line.substr(end).starts_with(" = ")) return std::nullopt;
  return line.substr(0, end);
}

TEST_CASE("config: penstockd.toml explains every key of the daemon, and no other") {
  std::set<std::string> explained;
  std::istringstream lines{example_file()};
  std::string before;
  for (std::string line; std::getline(lines, line); before = line) {
    const auto key = key_of(line);
    if (!key) continue;
    CHECK_MESSAGE(explained.emplace(*key).second, line);
    CHECK_MESSAGE(before.starts_with("# "), line);  // the explanation stands right above
  }
  std::set<std::string> known;
  for (const auto& spec : daemon_settings) known.emplace(spec.key);
  CHECK(explained == known);
}

TEST_CASE("config: penstockd.toml with every example switched on is a configuration that serve accepts") {
  std::istringstream lines{example_file()};
  std::string active;
  for (std::string line; std::getline(lines, line);) {
    active += key_of(line) && line.starts_with('#') ? line.substr(1) : line;
    active += '\n';
  }
  const auto layer = parse_daemon_config(active, "penstockd.toml");
  if (!layer) FAIL(layer.error().message);
  for (const auto& spec : daemon_settings) CHECK_MESSAGE(layer->find(spec.key), std::string{spec.key});
  // Its directories are examples: others stand in for them.
  const auto words =
      parse_words(penstockd_table, test::words_of("serve --root /usr --state /nonexistent-penstock-state"));
  const auto command = read_daemon_command(words.words, *layer, test::environment_of({}));
  if (!command) FAIL(command.error().message);
}

TEST_CASE("config: penstockd.toml as shipped parses") { CHECK(parse_daemon_config(example_file(), "penstockd.toml")); }

TEST_CASE("config: the client's home is PENSTOCK_HOME, else beneath XDG_CONFIG_HOME, else beneath HOME") {
  using test::environment_of;
  CHECK(*client_home(environment_of({{"PENSTOCK_HOME", "/p"}, {"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}})) == "/p");
  CHECK(*client_home(environment_of({{"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}})) == "/x/penstock");
  CHECK(*client_home(environment_of({{"HOME", "/h"}})) == "/h/.config/penstock");
  CHECK(*client_home(environment_of({{"PENSTOCK_HOME", ""}, {"HOME", "/h"}})) == "/h/.config/penstock");
  CHECK(client_home(environment_of({})).error().code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("config: the state directory is systemd's, root's, or beneath XDG_STATE_HOME") {
  using test::environment_of;
  CHECK(*default_state_directory(environment_of({{"STATE_DIRECTORY", "/s"}, {"XDG_STATE_HOME", "/x"}}, true)) == "/s");
  CHECK(*default_state_directory(environment_of({{"STATE_DIRECTORY", "/s:/t"}})) == "/s");
  CHECK(*default_state_directory(environment_of({{"XDG_STATE_HOME", "/x"}}, true)) == "/var/lib/penstock");
  CHECK(*default_state_directory(environment_of({{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}})) == "/x/penstock");
  CHECK(*default_state_directory(environment_of({{"HOME", "/h"}})) == "/h/.local/state/penstock");
  CHECK_FALSE(default_state_directory(environment_of({})));
}

TEST_CASE("config: root and state may not lie within each other") {
  CHECK(check_root_and_state("/usr", "/nonexistent/state"));
  CHECK(check_root_and_state("/usr", "/usrx"));
  for (const auto& each : {std::pair{"/usr", "/usr"},
                           {"/usr", "/usr/"},
                           {"/usr/", "/usr/state"},
                           {"/usr/include", "/usr"},
                           {"/", "/var/lib/penstock"},
                           {"/usr", "/usr/include/../state"},
                           {"/usr", "/tmp/../usr/a/b/c"},
                           {"/nonexistent", "/tmp"},
                           {"/etc/passwd", "/tmp"}}) {
    const auto& root = each.first;
    const auto& state = each.second;
    INFO(root, " ", state);
    const auto checked = check_root_and_state(root, state);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code == ErrorCode::CONFIG_INVALID);
  }
}

}  // namespace
}  // namespace penstock::tools
