#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <new>
#include <utility>

#include "netem/emulator/emulator.h"
#include "netem/emulator/emulator_config.h"

namespace penstock::netem {
namespace {

int complain(const Error& error) {
  fmt::print(stderr, "penstock-link-emulator: {}\n", error.message);
  return error.code == ErrorCode::USAGE ? 2 : 1;
}

/// A lab that is killed must not leave its link behind: the parent's death is a SIGTERM here. stdin ends then too, if
/// nobody else holds its other end.
void end_with_parent() { prctl(PR_SET_PDEATHSIG, SIGTERM); }

int run(int argc, char** argv) {
  CLI::App app{"Carries packets between network namespaces through modelled links; README.md of netem/emulator.",
               "penstock-link-emulator"};
  EmulatorWords words;
  const auto repeats = [](CLI::Option* option) {
    return option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->delimiter('\0');
  };
  repeats(app.add_option("--host", words.hosts,
                         "NAME:ns=FILE,address=ADDR/PREFIX[,address=...][,device=lab0]; two or more"))
      ->required();
  repeats(app.add_option("--leg", words.legs, "NAME:up|down|both:word=value,...; what is not named is free"));
  repeats(app.add_option("--change", words.changes, "NAME:up|down|both@TIME:word=value,... after the line `start`"));
  app.add_option("--mtu", words.mtu, "of every device")->capture_default_str();
  app.add_option("--seed", words.seed, "of all luck; the same seed and traffic meet the same fate")
      ->capture_default_str();
  app.add_option("--corrupt-reach", words.reach, "kernel or application (checksum repaired)")->capture_default_str();
  app.add_option("--memory", words.memory, "bound of what is in flight")->capture_default_str();
  app.add_option("--tun-queue", words.tun_queue, "transmit queue of the devices in packets")->capture_default_str();
  app.add_option("--scheduling", words.scheduling, "auto, normal or realtime")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto config = read_emulator_config(words);
  if (!config) return complain(config.error());

  end_with_parent();
  // Blocked, so that the event loop reads them as data.
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a reader of stdout that has gone is no reason to drop the link
  try {
    auto emulator = Emulator::open(std::move(config).value());
    if (!emulator) return complain(emulator.error());
    const Status status = (*emulator)->run();
    return status ? 0 : complain(status.error());
  } catch (const std::bad_alloc&) {
    return complain({ErrorCode::IO_ERROR, fmt::format("no memory for --memory {}", words.memory)});
  }
}

}  // namespace
}  // namespace penstock::netem

int main(int argc, char** argv) { return penstock::netem::run(argc, argv); }
