#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "netem/link_words.h"
#include "netem/udp_relay/udp_relay.h"

namespace penstock::netem {
namespace {

/// What the command line says, still in words.
struct Words {
  std::string listen;
  std::string target;
  LinkWords both;
  std::string to_target;
  std::string to_client;
  std::vector<std::string> changes;
  std::vector<std::string> rebinds;
  std::uint64_t seed = 1;
};

Status set_direction(LinkSettings& link, const LinkWords& both, const std::string& own) {
  LinkWords words = both;
  if (!own.empty()) {
    auto more = parse_link_words(own);
    if (!more) return std::move(more).error();
    words.insert(words.end(), more->begin(), more->end());
  }
  return set_link_words(link, words);
}

Result<RelayConfig> config_of(const Words& words) {
  auto listen = SocketAddress::parse(words.listen);
  if (!listen) return std::move(listen).error();
  auto target = SocketAddress::parse(words.target);
  if (!target) return std::move(target).error();
  // The queue of a link is counted in packets of the wire, as a kernel would: payload, UDP and IP headers.
  const LinkSettings plain{.overhead = target->family() == AF_INET ? 28U : 48U};
  RelayConfig config{.listen = *listen, .target = *target, .to_target = plain, .to_client = plain, .seed = words.seed};
  if (Status status = set_direction(config.to_target, words.both, words.to_target); !status) {
    return std::move(status).error();
  }
  if (Status status = set_direction(config.to_client, words.both, words.to_client); !status) {
    return std::move(status).error();
  }
  for (const std::string& text : words.changes) {
    auto change = parse_link_change(text);
    if (!change) return std::move(change).error();
    config.changes.push_back(std::move(change).value());
  }
  for (const std::string& text : words.rebinds) {
    auto after = parse_duration(text);
    if (!after) return std::move(after).error();
    config.rebinds.push_back(*after);
  }
  return config;
}

int complain(const Error& error) {
  fmt::print(stderr, "penstock-udp-relay: {}\n", error.message);
  return error.code == ErrorCode::USAGE ? 2 : 1;
}

int run(int argc, char** argv) {
  CLI::App app{"Relays UDP datagrams to one target through a modelled link.", "penstock-udp-relay"};
  Words words;
  app.add_option("--listen", words.listen, "ADDR:PORT for clients; port 0 picks one, printed on stdout")->required();
  app.add_option("--target", words.target, "ADDR:PORT that datagrams go to")->required();
  struct Option {
    const char* name;
    const char* help;
  };
  for (const Option& option :
       {Option{"delay", "one way, such as 25ms"}, Option{"jitter", "uniform, around the delay"},
        Option{"loss", "such as 1%"}, Option{"burst-loss", "p,r[,1-h[,1-k]] of a Gilbert-Elliott chain"},
        Option{"loss-placement", "before or after the bottleneck"}, Option{"rate", "such as 100mbit"},
        Option{"queue", "bytes, 200p (packets) or 1bdp"},
        Option{"police", "RATE,BURST: what comes faster is dropped, nothing waits"},
        Option{"reorder", "share that arrives late"}, Option{"reorder-delay", "by how much"},
        Option{"duplicate", "share that arrives twice"}, Option{"corrupt", "share with one bit flipped"},
        Option{"mtu", "bytes of IP; longer ones are dropped"}}) {
    app.add_option_function<std::string>(
        fmt::format("--{}", option.name),
        [&words, name = option.name](const std::string& value) { words.both.emplace_back(name, value); }, option.help);
  }
  app.add_option("--to-target", words.to_target, "word=value,... of this direction alone");
  app.add_option("--to-client", words.to_client, "word=value,... of this direction alone");
  app.add_option("--change", words.changes, "TIME:word=value,... both ways, after the first datagram; repeats")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--rebind", words.rebinds, "TIME after the first datagram: the target sees other ports; repeats")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--seed", words.seed, "of all luck; the same seed and traffic meet the same fate");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  auto config = config_of(words);
  if (!config) return complain(config.error());
  // Blocked, so that the event loop reads them as data, and before the address is printed: whoever reads it may signal.
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  auto relay = UdpRelay::open(*config);
  if (!relay) return complain(relay.error());
  fmt::print("listening on {}\n", (*relay)->local_address().to_string());
  std::fflush(stdout);
  const Status status = (*relay)->run();
  fmt::print("{}\n", (*relay)->counters());
  return status ? 0 : complain(status.error());
}

}  // namespace
}  // namespace penstock::netem

int main(int argc, char** argv) { return penstock::netem::run(argc, argv); }
