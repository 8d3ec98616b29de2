#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::control {

struct ListenAddress {
  std::string address;        // numeric, without brackets; "::" is dual stack
  std::uint16_t port = 7440;  // 0: one number free for TCP and UDP is picked
};
struct AdvertisedUdp {
  std::string host;
  std::uint16_t port = 0;
};

/// What `penstockd serve` needs to know; every value is checked by create().
struct ServerConfig {
  std::filesystem::path root;                      // an existing directory
  std::filesystem::path state;                     // made 0700 when missing; not beneath root, nor the reverse
  std::vector<ListenAddress> listen;               // empty: [::]:7440
  std::optional<AdvertisedUdp> udp_advertise;      // where clients send datagrams instead of the control address
  std::optional<std::filesystem::path> cert_file;  // both or none
  std::optional<std::filesystem::path> key_file;
  std::optional<DataRate> rate_cap;   // of each sending transfer, either direction
  std::uint32_t sessions_max = 2000;  // proven ones; more: SERVER_BUSY
  std::uint32_t transfers_max = 200;  // at one time; more: SERVER_BUSY
  std::uint32_t unproven_max = 256;   // connections before their proof
  Duration partial_ttl = std::chrono::hours{7 * 24};
  Duration drain_timeout = std::chrono::seconds{10};  // after the first request_stop transfers may finish for so long
  bool shuffle_chunks = false;                        // a test of the client's assembly
  bool discard = false;                               // benchmark: pushes are thrown away, and their clients told so
  std::optional<std::uint32_t> workers;  // threads for datagrams, at most 16; nullopt: as many as processors
  Duration busy_poll{};                  // how long each asks for datagrams again before it sleeps
  bool udp_offload = true;               // false: neither GSO nor GRO, as on a kernel without
  bool udp_steering = true;              // false: the kernel does not pick a worker by connection id
};

enum class LogLevel : std::uint8_t { debug, info, warning, error };
std::string_view to_string(LogLevel level);
using LogFields = std::span<const std::pair<std::string_view, std::string>>;

/// Hears what the daemon does. Values are escaped already: they hold no control characters.
/// Threads: called from the thread that called run(), and before that from create().
class ServerObserver {
 public:
  virtual ~ServerObserver() = default;
  /// Once for each address, after all sockets are bound: "ADDR:PORT" (IPv6 in brackets) and "SHA256:HEX".
  virtual void on_listening(const std::string& address, const std::string& fingerprint) = 0;
  /// `event` is a stable word such as "session_opened"; `message` is for people.
  virtual void on_log(LogLevel level, std::string_view event, std::string_view message, LogFields fields) = 0;
};

/// The daemon: create, bind, run.
/// Threads: run() belongs to one thread and starts its own for data, storage and handshakes; request_stop may be called
/// from any thread (not from a signal handler).
class Server {
 public:
  /// Opens the state. `observer` is borrowed for the server's life.
  static Result<std::unique_ptr<Server>> create(ServerConfig config, ServerObserver& observer);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Binds every address, and calls on_listening for each; once. CONFIG_INVALID: one of them is no address. All else,
  /// whatever its code: one, which the message names, can not be bound.
  Status bind();
  /// Serves until stopped; returns when all sessions are over.
  Status run();
  /// First: no new connections or transfers (DRAINING), running transfers have `drain_timeout`. Second: now; journals
  /// are synced, so that everything resumes.
  void request_stop();

  /// As bound, in the order of `listen`: port 0 is resolved.
  [[nodiscard]] const std::vector<ListenAddress>& addresses() const;
  [[nodiscard]] std::string fingerprint() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::control
