#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "netem/link_words.h"
#include "netem/probe/measurement.h"
#include "netem/probe/receiver.h"
#include "netem/probe/sender.h"

namespace penstock::netem::probe {
namespace {

int complain(const Error& error) {
  fmt::print(stderr, "penstock-link-probe: {}\n", error.message);
  return error.code == ErrorCode::USAGE ? 2 : 1;
}

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

int tell(const Result<std::string>& line) {
  if (!line) return complain(line.error());
  say(*line);
  return 0;
}

struct ReceiveWords {
  std::string listen;
  std::string wait = "30s";
  std::string idle = "5s";
  std::string linger = "1s";
};

int receive(const ReceiveWords& words) {
  const auto listen = SocketAddress::parse(words.listen);
  if (!listen) return complain(listen.error());
  ReceiveConfig config{.listen = *listen};
  for (const auto& [text, target] :
       {std::pair{&words.wait, &config.wait}, {&words.idle, &config.idle}, {&words.linger, &config.linger}}) {
    const auto duration = parse_duration(*text);
    if (!duration) return complain(duration.error());
    *target = *duration;
  }
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  return tell(receive_run(config, [](const SocketAddress& address) {
    say(fmt::format(R"({{"event":"ready","listen":"{}"}})", address.to_string()));
  }));
}

struct SendWords {
  std::string to;
  std::string bind;
  std::string rate;
  std::string duration;
  std::uint64_t count = 0;
  std::uint64_t size = 1500;
  std::uint32_t segments = 1;
};

Result<SendConfig> config_of(const SendWords& words) {
  const auto to = SocketAddress::parse(words.to);
  if (!to) return to.error();
  const auto rate = parse_rate(words.rate);
  if (!rate) return rate.error();
  SendConfig config{
      .to = *to, .bind = {}, .rate = *rate, .count = words.count, .size = words.size, .segments = words.segments};
  if (!words.bind.empty()) {
    const bool is_v6 = words.bind.find(':') != std::string::npos;
    const auto bind = SocketAddress::parse(is_v6 ? fmt::format("[{}]:0", words.bind) : fmt::format("{}:0", words.bind));
    if (!bind) return bind.error();
    config.bind = *bind;
  }
  if (!words.duration.empty()) {
    const auto duration = parse_duration(words.duration);
    if (!duration) return duration.error();
    config.count = config.size == 0 ? 0 : rate->bytes_in(*duration) / config.size;
  }
  if (Status status = check(config); !status) return std::move(status).error();
  return config;
}

int send(const SendWords& words) {
  const auto config = config_of(words);
  if (!config) return complain(config.error());
  return tell(send_run(*config));
}

int run(int argc, char** argv) {
  CLI::App app{"Measures a link between two namespaces of one machine; README.md of netem/probe.",
               "penstock-link-probe"};
  app.require_subcommand(1);
  ReceiveWords in;
  CLI::App* const receiving = app.add_subcommand("receive", "measures one run and prints its result");
  receiving->add_option("--listen", in.listen, "ADDR:PORT; port 0 picks one, printed on stdout")->required();
  receiving->add_option("--wait", in.wait, "for the first datagram")->capture_default_str();
  receiving->add_option("--idle", in.idle, "without a datagram, then the run is over")->capture_default_str();
  receiving->add_option("--linger", in.linger, "after the sender's last word")->capture_default_str();
  SendWords out;
  CLI::App* const sending = app.add_subcommand("send", "sends by an absolute timetable");
  sending->add_option("--to", out.to, "ADDR:PORT")->required();
  sending->add_option("--bind", out.bind, "address to send from, such as 10.77.0.1 or fd77::1");
  sending->add_option("--rate", out.rate, "of IP bytes, such as 100mbit")->required();
  CLI::Option* const count = sending->add_option("--count", out.count, "datagrams");
  CLI::Option* const duration = sending->add_option("--for", out.duration, "such as 10s: as many as that holds");
  count->excludes(duration);
  sending->add_option("--size", out.size, "bytes of IP of each")->capture_default_str();
  sending->add_option("--segments", out.segments, "datagrams handed to the kernel at once (UDP_SEGMENT)")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (*receiving) return receive(in);
  if (count->empty() && duration->empty()) {
    return complain({ErrorCode::USAGE, "say how many: --count 50000 or --for 10s"});
  }
  return send(out);
}

}  // namespace
}  // namespace penstock::netem::probe

int main(int argc, char** argv) { return penstock::netem::probe::run(argc, argv); }
