#include "tools/cli/parser.h"

#include <doctest/doctest.h>

#include "tests/unit/tools/words.h"
#include "tools/cli/penstock_table.h"
#include "tools/cli/penstockd_table.h"

namespace penstock::tools {
namespace {

using test::words_of;
using Texts = std::vector<std::string>;

ParseOutcome client(const std::string& line) { return parse_words(penstock_table, words_of(line)); }
ParseOutcome daemon(const std::string& line) { return parse_words(penstockd_table, words_of(line)); }

/// The refusal's sentence; empty when there was none.
std::string refusal(const ParseOutcome& outcome) {
  if (!outcome.error) return "";
  CHECK(outcome.error->code == ErrorCode::USAGE);
  return outcome.error->message;
}
bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("parser: options stand anywhere, before the command and after the operands") {
  for (const auto* line : {"--json push --rate 5M a h:/b", "push a h:/b --rate 5M --json",
                           "push --rate=5M a --json h:/b", "--rate 5M --json push a h:/b"}) {
    INFO(line);
    const auto outcome = client(line);
    REQUIRE_FALSE(outcome.error);
    CHECK(outcome.words.command->words == "push");
    CHECK(outcome.words.operands == Texts{"a", "h:/b"});
    CHECK(outcome.words.last("--rate") == "5M");
    CHECK(outcome.words.json);
  }
}

TEST_CASE("parser: the value of an option is the next word, whatever it looks like") {
  CHECK(client("push a h:/b --rate --json").words.last("--rate") == "--json");
  CHECK(client("push a h:/b --rate push").words.last("--rate") == "push");
  CHECK(client("--rate push push a h:/b").words.command->words == "push");
  CHECK(client("push a h:/b --rate=").words.last("--rate") == "");
  CHECK(client("push a h:/b --rate=a=b").words.last("--rate") == "a=b");
  CHECK(client("register h --token -").words.last("--token") == "-");
}

TEST_CASE("parser: two dashes end the options") {
  const auto outcome = client("push --json -- --rate -x h:/b");
  REQUIRE_FALSE(outcome.error);
  CHECK(outcome.words.operands == Texts{"--rate", "-x", "h:/b"});
  CHECK(client("-- push a h:/b").words.command->words == "push");
  CHECK(client("push a -- -- h:/b").words.operands == Texts{"a", "--", "h:/b"});
}

TEST_CASE("parser: a single dash and an empty word are operands") {
  CHECK(client("push - h:/b").words.operands == Texts{"-", "h:/b"});
  const Texts words{"push", "", "h:/b"};
  CHECK(parse_words(penstock_table, words).words.operands == Texts{"", "h:/b"});
}

TEST_CASE("parser: an operand may be called like a command") {
  CHECK(client("push push stat ls h:/b").words.operands == Texts{"push", "stat", "ls", "h:/b"});
  CHECK(client("receipt show list").words.operands == Texts{"list"});
}

TEST_CASE("parser: nothing is abbreviated, and the refusal shows the full word") {
  CHECK(mentions(refusal(client("push a h:/b --dig sha256")), "--digest"));
  CHECK_FALSE(refusal(client("pus a h:/b")).empty());
  CHECK_FALSE(refusal(client("push a h:/b --jso")).empty());
  CHECK_FALSE(refusal(client("push a h:/b --no-such")).empty());
  CHECK_FALSE(refusal(client("push a h:/b -x")).empty());
}

TEST_CASE("parser: the last one wins") {
  CHECK(client("push a h:/b --rate 1M --rate=2M").words.last("--rate") == "2M");
  CHECK(client("push a h:/b --resume --no-resume").words.has("--no-resume"));
  CHECK_FALSE(client("push a h:/b --resume --no-resume").words.has("--resume"));
  CHECK(client("push a h:/b --no-resume --resume").words.has("--resume"));
  CHECK_FALSE(client("push a h:/b --no-resume --resume").words.has("--no-resume"));
}

TEST_CASE("parser: grants and listen addresses accumulate in order") {
  CHECK(daemon("token --user a --grant r:/x --grant=w:/y").words.all("--grant") == Texts{"r:/x", "w:/y"});
  CHECK(daemon("serve --listen 1 --root / --listen 2").words.all("--listen") == Texts{"1", "2"});
}

TEST_CASE("parser: -r -a -p mean nothing on push and pull, together or apart") {
  for (const auto* line : {"push -r -a -p a h:/b", "push -rap a h:/b", "pull -ar h:/b a", "-r push a h:/b"}) {
    INFO(line);
    const auto outcome = client(line);
    CHECK_FALSE(outcome.error);
    CHECK(outcome.words.options.empty());
  }
  CHECK(client("rm -r h:/b").words.has("-r"));
  CHECK(client("mkdir -p h:/b").words.has("-p"));
  CHECK_FALSE(refusal(client("ls -r h:/b")).empty());
  CHECK_FALSE(refusal(client("rm -p h:/b")).empty());
}

TEST_CASE("parser: letters may share a dash") {
  const auto outcome = client("push -nv a h:/b");
  REQUIRE_FALSE(outcome.error);
  CHECK(outcome.words.has("--dry-run"));
  CHECK(outcome.words.has("-v"));
  CHECK(mentions(refusal(client("push -nX a h:/b")), "-X"));
}

TEST_CASE("parser: -P says to write the port into the address") {
  for (const auto* line : {"push -P 22 a h:/b", "push -P2222 a h:/b", "ping -P h"}) {
    INFO(line);
    CHECK(mentions(refusal(client(line)), "HOST:PORT"));
  }
}

TEST_CASE("parser: reserved words and later features are refused by name") {
  for (const auto* word :
       {"--delete", "-u", "-z", "--checksum", "--ssh", "--xattrs", "--acls", "--remove-source", "-0"}) {
    INFO(word);
    const std::string said = refusal(client(std::string{"push a h:/b "} + word));
    CHECK(mentions(said, word));
    CHECK(mentions(said, "not there yet"));
  }
  for (const auto* word : {"--include", "--exclude", "--files-from"}) {
    INFO(word);
    CHECK(mentions(refusal(client(std::string{"push a h:/b "} + word + " x")), "not there yet"));
    CHECK(mentions(refusal(client(std::string{"push a h:/b "} + word + "=x")), "not there yet"));
  }
  for (const auto* line : {"hosts list", "hosts forget h", "partials list", "partials purge", "completion bash"}) {
    INFO(line);
    CHECK(mentions(refusal(client(line)), "not there yet"));
  }
  for (const auto* line : {"status", "sessions", "cancel 1", "partials list", "partials purge", "backup /x"}) {
    INFO(line);
    CHECK(mentions(refusal(daemon(line)), "not there yet"));
  }
  CHECK(mentions(refusal(daemon("serve --root / --invite ann")), "not there yet"));
}

TEST_CASE("parser: an option of another command is refused with both names") {
  const std::string said = refusal(client("ls h:/ --rate 5M"));
  CHECK(mentions(said, "--rate"));
  CHECK(mentions(said, "ls"));
}

TEST_CASE("parser: values where none belong and missing ones are refused") {
  CHECK(mentions(refusal(client("push a h:/b --json=1")), "--json"));
  CHECK(mentions(refusal(client("push a h:/b --rate")), "RATE"));
  CHECK(mentions(refusal(client("push a h:/b --dry-run=no")), "--dry-run"));
}

TEST_CASE("parser: too few and too many operands show the usage") {
  CHECK(mentions(refusal(client("push a")), "SRC... REMOTE"));
  CHECK(mentions(refusal(client("ls")), "penstock ls REMOTE"));
  CHECK(mentions(refusal(client("ls h:/a h:/b")), "penstock ls REMOTE"));
  CHECK(mentions(refusal(client("receipt")), "receipt show"));
  CHECK(mentions(refusal(client("receipt shw x")), "receipt show"));
  CHECK_FALSE(refusal(client("")).empty());
  CHECK_FALSE(refusal(daemon("tokens")).empty());
}

TEST_CASE("parser: --json is known whatever else is wrong, since JSON readers are promised a last line") {
  for (const auto* line : {"--nonsense --json", "push --json", "push -P 1 a h:/b --json", "nonsense --json x",
                           "push a h:/b --json=1", "--json", "push --rate --json --json", "hosts list --json"}) {
    INFO(line);
    const auto outcome = client(line);
    CHECK(outcome.error.has_value());
    CHECK(outcome.words.json);
  }
  CHECK_FALSE(client("push -- a h:/b --json").words.json);
}

TEST_CASE("parser: who asks for help or the version gets it beside anything else") {
  CHECK(client("--help").words.help);
  CHECK_FALSE(client("--help").error);
  CHECK(client("-h").words.help);
  CHECK(client("push --help").words.command->words == "push");
  CHECK_FALSE(client("push --help").error);
  CHECK_FALSE(client("push --nonsense --help").error);
  CHECK(client("--version").words.version);
  CHECK_FALSE(client("push -- --help a").words.help);
}

TEST_CASE("parser: every option of the table is understood in both spellings on each of its commands") {
  for (const auto* table : {&penstock_table, &penstockd_table})
    for (const auto& spec : table->options)
      for (std::size_t i = 0; i < table->commands.size(); ++i) {
        if (!spec.commands.contains(i) || spec.standing != Standing::offered || !table->commands[i].not_yet.empty())
          continue;
        if (spec.name == "--help" || spec.name == "--version") continue;
        auto words = words_of(std::string{table->commands[i].words});
        for (std::size_t n = 0; n < table->commands[i].operands_min; ++n) words.emplace_back("x");
        INFO(std::string{table->commands[i].words}, " ", std::string{spec.name});
        auto apart = words;
        apart.emplace_back(spec.name);
        if (spec.takes_value()) apart.emplace_back("value");
        const auto first = parse_words(*table, apart);
        REQUIRE_FALSE(first.error);
        REQUIRE(first.words.options.size() == 1);
        CHECK(first.words.options[0].spec == &spec);
        if (!spec.takes_value()) continue;
        auto joined = words;
        joined.push_back(std::string{spec.name} + "=value");
        const auto second = parse_words(*table, joined);
        REQUIRE_FALSE(second.error);
        CHECK(second.words.last(spec.name) == "value");
      }
}

}  // namespace
}  // namespace penstock::tools
