#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/time.h"
#include "control/client/client.h"
#include "control/registry/records.h"
#include "control/server/server.h"

namespace penstock::tools {

// The complete meaning of a command line with its environment and configuration: what runs needs nothing else. All
// values are checked; nothing here has been connected to, opened or looked up.

enum class Verbosity : std::uint8_t { quiet, normal, verbose };
enum class LogFormat : std::uint8_t { text, json };

// penstock. Commands that connect carry whom to: an alias is replaced by its address already.

struct RegisterCommand {
  control::ClientConfig client;
  enum class TokenFrom : std::uint8_t { word, standard_input, file } token_from = TokenFrom::word;
  std::string token;  // the token itself, or the file's path
};
/// Sources are local paths; the destination is a normal remote path.
struct PushCommand {
  control::ClientConfig client;
  control::TransferWords words;
  control::TransferOptions transfer;
};
/// Sources are normal remote paths; the destination is a local path.
struct PullCommand {
  control::ClientConfig client;
  control::TransferWords words;
  control::TransferOptions transfer;
};
struct ListCommand {
  control::ClientConfig client;
  std::string path;
  bool long_format = false;
};
struct StatCommand {
  control::ClientConfig client;
  std::string path;
};
struct MkdirCommand {
  control::ClientConfig client;
  std::string path;
  bool parents = false;
};
struct RemoveCommand {
  control::ClientConfig client;
  std::string path;
  bool recursive = false;
};
struct RenameCommand {
  control::ClientConfig client;
  std::string from;
  std::string to;
};
struct DigestCommand {
  control::ClientConfig client;
  std::string path;
};
struct PingCommand {
  control::ClientConfig client;
};
struct ReceiptListCommand {};
struct ReceiptShowCommand {
  std::string id;
  bool sums = false;
};
struct ReceiptVerifyCommand {
  std::string file;
};
struct ReceiptCheckCommand {
  std::string file;
  std::string directory;
};

struct ClientCommand {
  std::string home;  // registrations, pins, journals and receipts live here
  Verbosity verbosity = Verbosity::normal;
  std::variant<RegisterCommand, PushCommand, PullCommand, ListCommand, StatCommand, MkdirCommand, RemoveCommand,
               RenameCommand, DigestCommand, PingCommand, ReceiptListCommand, ReceiptShowCommand, ReceiptVerifyCommand,
               ReceiptCheckCommand>
      action;
};

// penstockd.

struct ServeCommand {
  control::ServerConfig server;
  LogFormat log_format = LogFormat::text;
};
/// Reads what `serve` would read, and runs nothing.
struct CheckConfigCommand {
  ServeCommand serve;
};
struct TokenCommand {
  std::string user;
  std::vector<control::Grant> grants;  // never empty
  bool grants_defaulted = false;       // nobody named one: "rw:/" is echoed on stderr
  Duration ttl{};
  std::optional<std::string> cert_file;  // the operator's own certificate, if the configuration names one
  std::optional<std::string> key_file;
};
struct TokensListCommand {};
struct TokensRevokeCommand {
  control::TokenId id;
};
struct ClientsListCommand {};
struct ClientsGrantCommand {
  control::Uuid uuid;
  std::vector<control::Grant> grants;
};
struct ClientsRevokeCommand {
  control::Uuid uuid;
};

struct DaemonCommand {
  std::string state;  // state directory, absolute
  std::variant<ServeCommand, CheckConfigCommand, TokenCommand, TokensListCommand, TokensRevokeCommand,
               ClientsListCommand, ClientsGrantCommand, ClientsRevokeCommand>
      action;
};

}  // namespace penstock::tools
