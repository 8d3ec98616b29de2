// penstock_bench_blast: how fast this machine moves bytes from one host to another if nothing but the datagrams' own
// work is done. Not a test.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "dataplane/io/monotonic_now.h"
#include "tools/benchmarks/blast/receiving.h"
#include "tools/benchmarks/blast/sending.h"

namespace penstock::benchmarks {
namespace {

int complain(const Error& error) {
  fmt::print(stderr, "penstock_bench_blast: {}\n", error.message);
  return error.code == ErrorCode::USAGE ? 2 : 1;
}

struct ReceiveWords {
  std::string listen;
  std::string into;
  bool no_gro = false;
};

int receive(const ReceiveWords& words) {
  const auto listen = io::Endpoint::parse(words.listen);
  if (!listen) return complain({ErrorCode::USAGE, "--listen takes ADDRESS:PORT, such as 127.0.0.1:0"});
  BlastReceiveConfig config{.listen = *listen, .gro = !words.no_gro};
  if (!words.into.empty()) config.file = words.into;
  const auto received = receive_blast(config, [](const io::Endpoint& address) {
    fmt::print("listening on {}\n", address.to_string());
    std::fflush(stdout);
  });
  if (!received) return complain(received.error());
  fmt::print(R"({{"total":{},"arrived":{},"datagrams":{},"runs":{},"unusable":{},"socket_drops":{},"writes":{},)"
             R"("receive_buffer":{},"gro":{}}})"
             "\n",
             received->terms.total, received->end.arrived, received->datagrams, received->runs, received->unusable,
             received->end.socket_drops, received->writes, received->receive_buffer, received->gro);
  return 0;
}

struct SendWords {
  std::string to;
  std::string from;
  std::uint64_t bytes = 2 * GiB;
  bool clear = false;
  std::string aead;
  std::uint16_t datagram_size = 1471;
  std::uint64_t window = 4 * MiB;
  bool no_gso = false;
};

Result<BlastSendConfig> config_of(const SendWords& words) {
  const auto to = io::Endpoint::parse(words.to);
  if (!to) return Error{ErrorCode::USAGE, "the receiver is ADDRESS:PORT, as it said itself"};
  BlastSendConfig config{.to = *to,
                         .bytes = words.bytes,
                         .datagram_size = words.datagram_size,
                         .window = words.window,
                         .gso = !words.no_gso};
  if (!words.from.empty()) config.file = words.from;
  if (words.clear) {
    if (config.file || !words.aead.empty()) {
      return Error{ErrorCode::USAGE, "--clear goes with neither --from nor --aead"};
    }
    return config;
  }
  config.aead = words.aead.empty() ? crypto::aead_backends().front() : crypto::aead_backend_named(words.aead);
  if (config.aead == nullptr) return Error{ErrorCode::USAGE, "this machine has no AEAD backend " + words.aead};
  return config;
}

int send(const SendWords& words) {
  const TimePoint began = io::monotonic_now();
  const auto config = config_of(words);
  if (!config) return complain(config.error());
  const auto sent = send_blast(*config);
  if (!sent) return complain(sent.error());
  const double seconds = std::chrono::duration<double>(io::monotonic_now() - began).count();
  fmt::print(
      R"({{"total":{},"arrived":{},"socket_drops":{},"seconds":{:.6f},"gbit_s":{:.3f},"aead":"{}","datagram_size":{},)"
      R"("segments":{},"gso":{},"calls":{},"blocked":{},"waits":{},"stalls":{}}})"
      "\n",
      sent->total, sent->end.arrived, sent->end.socket_drops, seconds,
      static_cast<double>(sent->end.arrived) * 8 / seconds / 1e9, config->aead != nullptr ? config->aead->name() : "",
      config->datagram_size, sent->segments, sent->gso, sent->calls, sent->blocked, sent->waits, sent->stalls);
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{
      "The machine's limit: one thread an end, no acknowledgements, no control channel, no digests.\n"
      "Sealed (the default): the AEAD, GSO, GRO and file calls that Penstock uses. --clear: datagrams alone.\n"
      "The receiver takes one blast, tells what arrived, and ends; tools/benchmarks/README.md says more.",
      "penstock_bench_blast"};
  app.require_subcommand(1);
  ReceiveWords in;
  CLI::App* const receiving =
      app.add_subcommand("receive", "takes one blast; prints where it listens, then a line of JSON");
  receiving->add_option("--listen", in.listen, "ADDRESS:PORT for UDP and TCP; port 0 picks one")->required();
  receiving->add_option("--into", in.into, "write what arrives into this new file");
  receiving->add_flag("--no-gro", in.no_gro, "every datagram by itself");
  SendWords out;
  CLI::App* const sending = app.add_subcommand("send", "sends one blast; prints a line of JSON");
  sending->add_option("receiver", out.to, "ADDRESS:PORT")->required();
  sending->add_option("--from", out.from, "send this file");
  sending->add_option("--bytes", out.bytes, "without a file: how many, such as 512MiB")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  sending->add_flag("--clear", out.clear, "neither sealed nor from a file; counts whole datagrams");
  sending->add_option("--aead", out.aead, "ipsec-mb, openssl, libsodium, openssl-chacha20 (default: the best here)");
  sending->add_option("--datagram", out.datagram_size, "bytes of a full one")
      ->check(CLI::Range(64, 65507))
      ->capture_default_str();
  sending->add_option("--window", out.window, "bytes on their way; more than the receiver's socket holds loses some")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{64 * KiB}, std::uint64_t{1} << 32))
      ->capture_default_str();
  sending->add_flag("--no-gso", out.no_gso, "every datagram by itself");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return *receiving ? receive(in) : send(out);
}

}  // namespace
}  // namespace penstock::benchmarks

int main(int argc, char** argv) { return penstock::benchmarks::run(argc, argv); }
