#include "tools/cli/read_client_command.h"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <string>

#include "tests/unit/tools/words.h"
#include "tools/cli/penstock_table.h"

namespace penstock::tools {
namespace {

using namespace std::chrono_literals;
using Variables = std::map<std::string, std::string, std::less<>>;

Result<ClientCommand> read(const std::string& line, const std::string& config = "", Variables variables = {}) {
  const auto words = test::words_of(line);
  const auto outcome = parse_words(penstock_table, words);
  if (outcome.error) FAIL(outcome.error->message);
  const auto file = parse_client_config(config, "config.toml");
  if (!file) FAIL(file.error().message);
  variables.emplace("PENSTOCK_HOME", "/home/p");
  return read_client_command(outcome.words, *file, test::environment_of(std::move(variables)));
}
template <class Action>
Action action(const std::string& line, const std::string& config = "", Variables variables = {}) {
  auto command = read(line, config, std::move(variables));
  if (!command) FAIL(command.error().message);
  REQUIRE(std::holds_alternative<Action>(command->action));
  return std::get<Action>(command->action);
}
Error refusal(const std::string& line, const std::string& config = "", Variables variables = {}) {
  const auto command = read(line, config, std::move(variables));
  REQUIRE_FALSE(command);
  return command.error();
}
bool mentions(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("client command: what is built in holds when nobody says anything") {
  const auto push = action<PushCommand>("push a host:/b");
  CHECK(push.client.home == "/home/p");
  CHECK(push.client.host == "host");
  CHECK(push.client.port == 7440);
  CHECK(push.client.user.empty());
  CHECK(push.client.connect_timeout == 15s);
  CHECK(push.client.timeout == std::optional<Duration>{5min});
  CHECK_FALSE(push.client.token);
  CHECK_FALSE(push.client.fingerprint);
  CHECK(push.transfer.congestion == control::CongestionKind::bbr);
  CHECK_FALSE(push.transfer.rate);
  CHECK(push.transfer.digest == control::DigestKind::xxh3);
  CHECK(push.transfer.overwrite == control::OverwriteMode::never);
  CHECK(push.transfer.links == control::LinkMode::keep);
  CHECK(push.transfer.resume);
  CHECK_FALSE(push.transfer.dry_run);
  CHECK_FALSE(push.transfer.report_files);
  CHECK_FALSE(push.transfer.mtu);
  CHECK_FALSE(push.transfer.shuffle_chunks);
}

TEST_CASE("client command: every option reaches its place") {
  const auto push = action<PushCommand>(
      "push a b ann@[2001:db8::7]:7441:/in/ --cc fixed --rate 60MB --mtu 9000 --digest sha256 --overwrite changed "
      "--links follow "
      "--no-resume -n --connect-timeout 3s --timeout 0 --fec auto --lanes 7 --data udp");
  CHECK(push.client.user == "ann");
  CHECK(push.client.host == "2001:db8::7");
  CHECK(push.client.port == 7441);
  CHECK(push.client.connect_timeout == 3s);
  CHECK_FALSE(push.client.timeout);
  CHECK(push.words.destination == "/in");
  CHECK(push.words.container);
  REQUIRE(push.words.sources.size() == 2);
  CHECK(push.words.sources[1].last_name == "b");
  CHECK(push.transfer.congestion == control::CongestionKind::fixed);
  CHECK(push.transfer.rate == DataRate::bytes_per_second(60'000'000));
  CHECK(push.transfer.lanes == 7);
  CHECK(push.transfer.mtu == 9000);
  CHECK(push.transfer.digest == control::DigestKind::sha256);
  CHECK(push.transfer.overwrite == control::OverwriteMode::changed);
  CHECK(push.transfer.links == control::LinkMode::follow);
  CHECK_FALSE(push.transfer.resume);
  CHECK(push.transfer.dry_run);
  CHECK(push.transfer.report_files);
}

TEST_CASE("client command: an option beats the environment, which beats the host's table, which beats the defaults") {
  const std::string config =
      "[defaults]\nrate = \"1M\"\n[host.lab]\nrate = \"2M\"\naddress = \"lab.example.org:7555\"\n";
  const auto rate = [&](const std::string& line, Variables variables = {}) {
    return action<PushCommand>(line, config, std::move(variables)).transfer.rate->bits_per_second();
  };
  CHECK(rate("push a lab:/b --rate 4M", {{"PENSTOCK_RATE", "3M"}}) == 4'000'000);
  CHECK(rate("push a lab:/b", {{"PENSTOCK_RATE", "3M"}}) == 3'000'000);
  CHECK(rate("push a lab:/b") == 2'000'000);
  CHECK(rate("push a other:/b") == 1'000'000);
  CHECK(rate("push a lab:/b", {{"PENSTOCK_RATE", ""}}) == 2'000'000);
}

TEST_CASE("client command: resume may be switched off in the file and on again by option") {
  const std::string config = "[defaults]\nresume = false\n";
  CHECK_FALSE(action<PushCommand>("push a h:/b", config).transfer.resume);
  CHECK(action<PushCommand>("push a h:/b --resume", config).transfer.resume);
  CHECK_FALSE(action<PushCommand>("push a h:/b --resume --no-resume").transfer.resume);
  CHECK(action<PushCommand>("push a h:/b --no-resume --resume").transfer.resume);
}

TEST_CASE("client command: of -q and -v the last one wins") {
  CHECK(read("push a h:/b -q -v")->verbosity == Verbosity::verbose);
  CHECK(read("push a h:/b -v -q")->verbosity == Verbosity::quiet);
  CHECK(read("push a h:/b")->verbosity == Verbosity::normal);
}

TEST_CASE("client command: an alias stands for its address; what the words say themselves stays") {
  const std::string config =
      "[host.lab]\naddress = \"bob@[2001:db8::7]:7555\"\n[host.pin]\nname = \"eve\"\nca = \"/ca.pem\"\n"
      "fingerprint = \"SHA256:" +
      std::string(64, 'A') + "\"\n";
  const auto lab = action<ListCommand>("ls lab:/", config).client;
  CHECK(lab.host == "2001:db8::7");
  CHECK(lab.port == 7555);
  CHECK(lab.user == "bob");
  const auto other = action<ListCommand>("ls ann@lab:1:/", config).client;
  CHECK(other.host == "2001:db8::7");
  CHECK(other.port == 1);
  CHECK(other.user == "ann");
  const auto pin = action<ListCommand>("ls pin:/", config).client;
  CHECK(pin.host == "pin");
  CHECK(pin.user == "eve");
  CHECK(pin.ca_file == "/ca.pem");
  CHECK(pin.fingerprint == "SHA256:" + std::string(64, 'a'));
  CHECK(refusal("ls lab:/", "[host.lab]\naddress = \"no host/\"\n").code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("client command: a value that makes no sense is refused with the place where it stood") {
  const auto option = refusal("push a h:/b --rate fast");
  CHECK(option.code == ErrorCode::USAGE);
  CHECK(option.message.starts_with("--rate: "));
  const auto environment = refusal("push a h:/b", "", {{"PENSTOCK_RATE", "fast"}});
  CHECK(environment.code == ErrorCode::USAGE);
  CHECK(environment.message.starts_with("$PENSTOCK_RATE: "));
  const auto file = refusal("push a h:/b", "[defaults]\n\nrate = \"fast\"\n");
  CHECK(file.code == ErrorCode::CONFIG_INVALID);
  CHECK(file.message.starts_with("config.toml:3: `rate`: "));
  const auto host = refusal("push a lab:/b", "[defaults]\nrate = \"1M\"\n[host.lab]\nrate = \"\"\n");
  CHECK(host.message.starts_with("config.toml:4: "));
}

TEST_CASE("client command: several lanes are there under bbr, the default, as under cubic and fixed") {
  CHECK(action<PushCommand>("push a h:/b").transfer.lanes == 1);
  CHECK(action<PushCommand>("push a h:/b --lanes 2").transfer.congestion == control::CongestionKind::bbr);
  CHECK(action<PushCommand>("push a h:/b --lanes 2 --cc bbr").transfer.lanes == 2);
  CHECK(action<PushCommand>("push a h:/b --lanes 64 --cc cubic").transfer.lanes == 64);
  CHECK(action<PullCommand>("pull h:/b a --lanes 2 --cc fixed --rate 1G").transfer.lanes == 2);
}

TEST_CASE("client command: file bytes go by whichever way works, or by the one that is named") {
  CHECK(action<PushCommand>("push a h:/b").transfer.data == control::DataKind::automatic);
  CHECK(action<PushCommand>("push a h:/b --data auto").transfer.data == control::DataKind::automatic);
  CHECK(action<PushCommand>("push a h:/b --data udp").transfer.data == control::DataKind::udp);
  CHECK(action<PullCommand>("pull h:/b a --data=tcp").transfer.data == control::DataKind::tcp);
}

TEST_CASE("client command: forward error correction is automatic, off, or a ratio, of one lane or several") {
  CHECK(action<PushCommand>("push a h:/b").transfer.fec == engine::Fec{.mode = engine::FecMode::automatic});
  CHECK(action<PullCommand>("pull h:/b a --fec off").transfer.fec == engine::Fec{});
  CHECK(action<PushCommand>("push a h:/b --fec 20,4").transfer.fec ==
        engine::Fec{.mode = engine::FecMode::fixed, .sources = 20, .repairs = 4});
  for (const auto* options : {"--fec on", "--fec 20", "--fec 0,4", "--fec 129,4", "--fec 4,200"}) {
    INFO(options);
    const auto error = refusal(std::string{"push a h:/b "} + options);
    CHECK(error.code == ErrorCode::USAGE);
    CHECK(mentions(error.message, "auto, off and K,M"));
  }
  CHECK(action<PushCommand>("push a h:/b --lanes 2 --fec 20,4").transfer.fec.repairs == 4);  // each lane has it
}

TEST_CASE("client command: scavenger can be asked for, with one lane") {
  CHECK(action<PushCommand>("push a h:/b --cc scavenger").transfer.congestion == control::CongestionKind::scavenger);
  CHECK(to_string(control::CongestionKind::scavenger) == "scavenger");
  const auto error = refusal("push a h:/b --lanes 2 --cc scavenger");
  CHECK(error.code == ErrorCode::USAGE);
  CHECK(mentions(error.message, "scavenger"));
}

TEST_CASE("client command: what a later version brings is refused by name, wherever it stands") {
  for (const auto* line : {"push - h:/b", "pull h:/a -", "pull - x"}) {
    INFO(line);
    const auto error = refusal(line);
    CHECK(error.code == ErrorCode::USAGE);
    CHECK(mentions(error.message, "not there yet"));
  }
}

TEST_CASE("client command: other values are refused with those that there are") {
  for (const auto* options :
       {"--cc reno", "--digest md5", "--overwrite maybe", "--links hard", "--data sctp", "--mtu 1279", "--mtu 65536",
        "--mtu x", "--lanes 0", "--lanes 65", "--connect-timeout 0", "--timeout 5", "--overwrite=", "--cc fixed"}) {
    INFO(options);
    CHECK(refusal(std::string{"push a h:/b "} + options).code == ErrorCode::USAGE);
  }
  CHECK(mentions(refusal("push a h:/b --overwrite maybe").message, "never, skip, changed, always"));
  CHECK(mentions(refusal("push a h:/b --cc fixed").message, "--rate"));
}

TEST_CASE("client command: on push every source is local even with colons, on pull every source is on one host") {
  const auto push = action<PushCommand>("push host:/a:b c h:/in/");
  CHECK(push.words.sources[0].path == "host:/a:b");
  CHECK(push.words.sources[0].last_name == "a:b");
  const auto pull = action<PullCommand>("pull h:/a/x h:/b/. in/");
  CHECK(pull.words.sources[0].path == "/a/x");
  CHECK(pull.words.sources[1].path == "/b");
  CHECK(pull.words.sources[1].contents);
  CHECK(pull.words.destination == "in");
  CHECK(refusal("pull h:/a g:/b in/").code == ErrorCode::USAGE);
  CHECK(refusal("pull h:/a h:1:/b in/").code == ErrorCode::USAGE);
  CHECK(refusal("pull a in/").code == ErrorCode::USAGE);
  CHECK(refusal("pull h:/a b in/").code == ErrorCode::USAGE);
  CHECK(refusal("push a b").code == ErrorCode::USAGE);
  CHECK(refusal("push a h:b").code == ErrorCode::USAGE);
  CHECK(mentions(refusal("push a h:b").message, "h:/b"));
  CHECK(refusal("push a h:/../b").code == ErrorCode::PATH_REFUSED);
}

TEST_CASE("client command: two sources with one last name are refused on both ends") {
  CHECK(refusal("push x/a y/a h:/in/").code == ErrorCode::USAGE);
  CHECK(refusal("pull h:/x/a h:/y/a/ in/").code == ErrorCode::USAGE);
  CHECK(refusal("pull h:/x h:/y in").code == ErrorCode::USAGE);
}

TEST_CASE("client command: the small commands carry their paths and flags") {
  CHECK(action<ListCommand>("ls -l h:/a/").long_format);
  CHECK(action<ListCommand>("ls h:/a/").path == "/a");
  CHECK(action<StatCommand>("stat h:/a/../b").path == "/b");
  CHECK(action<MkdirCommand>("mkdir -p h:/a").parents);
  CHECK_FALSE(action<MkdirCommand>("mkdir h:/a").parents);
  CHECK(action<RemoveCommand>("rm -r h:/a").recursive);
  CHECK_FALSE(action<RemoveCommand>("rm h:/a").recursive);
  CHECK(action<DigestCommand>("digest penstock://h/a%20b").path == "/a b");
  CHECK(action<RenameCommand>("mv h:/a /b/").to == "/b");
  CHECK(refusal("mv h:/a b").code == ErrorCode::USAGE);
  CHECK(refusal("mv /a h:/b").code == ErrorCode::USAGE);
  CHECK(refusal("mv h:/a h:/b").message.ends_with("write only its path, /b"));
  CHECK(action<PingCommand>("ping h:1").client.port == 1);
  CHECK(action<ReceiptShowCommand>("receipt show 7f --sums").sums);
  CHECK(action<ReceiptVerifyCommand>("receipt verify f").file == "f");
  CHECK(action<ReceiptCheckCommand>("receipt check f d").directory == "d");
  CHECK_NOTHROW(action<ReceiptListCommand>("receipt list"));
}

TEST_CASE("client command: a token comes from a word, standard input, a file or the environment") {
  using From = RegisterCommand::TokenFrom;
  CHECK(action<RegisterCommand>("register h --token -").token_from == From::standard_input);
  CHECK(action<RegisterCommand>("register h --token pt1_x").token == "pt1_x");
  const auto file = action<RegisterCommand>("register h --token-file f");
  CHECK(file.token_from == From::file);
  CHECK(file.token == "f");
  CHECK(action<RegisterCommand>("register h", "", {{"PENSTOCK_TOKEN", "pt1_e"}}).token == "pt1_e");
  CHECK(action<RegisterCommand>("register h --token pt1_x", "", {{"PENSTOCK_TOKEN", "pt1_e"}}).token == "pt1_x");
  CHECK(action<PushCommand>("push a h:/b", "", {{"PENSTOCK_TOKEN", "pt1_e"}}).client.token == "pt1_e");
  CHECK(refusal("register h").code == ErrorCode::USAGE);
  CHECK(refusal("register h --token x --token-file f").code == ErrorCode::USAGE);
  CHECK(refusal("register h --token=").code == ErrorCode::USAGE);
  CHECK(refusal("register h:/x --token -").code == ErrorCode::USAGE);
  CHECK(refusal("register h --token - --fingerprint SHA256:00").code == ErrorCode::USAGE);
  CHECK(action<RegisterCommand>("register h --token - --ca c").client.ca_file == "c");
}

TEST_CASE("client command: the kernel's offloads are used unless the configuration says off") {
  CHECK(action<PushCommand>("push a h:/b").client.udp_offload);
  CHECK_FALSE(action<PushCommand>("push a h:/b", "[defaults]\nudp_offload = \"off\"\n").client.udp_offload);
  CHECK_FALSE(action<PingCommand>("ping h", "[host.h]\nudp_offload = \"off\"\n").client.udp_offload);
  CHECK(refusal("push a h:/b", "[defaults]\nudp_offload = \"no\"\n").code == ErrorCode::CONFIG_INVALID);
}

TEST_CASE("client command: chunks are shuffled only when the configuration asks for that test") {
  CHECK(action<PushCommand>("push a h:/b", "[defaults]\nchunk_order = \"shuffled\"\n").transfer.shuffle_chunks);
  CHECK_FALSE(action<PushCommand>("push a h:/b", "[defaults]\nchunk_order = \"sequential\"\n").transfer.shuffle_chunks);
  CHECK(refusal("push a h:/b", "[defaults]\nchunk_order = \"random\"\n").code == ErrorCode::CONFIG_INVALID);
}

}  // namespace
}  // namespace penstock::tools
