#pragma once

#include <string_view>

#include "tools/cli/option_table.h"

namespace penstock::tools {

// The one table of `penstockd` (CLI.md section 1).

// clang-format off
inline constexpr CommandSpec penstockd_commands[] = {
  {.words = "serve", .operands = "",
   .summary = "serve the files beneath --root until a signal ends it",
   .details = "Prints on standard error, once all sockets are bound, one line for each address:\n"
              "  listening on ADDR:PORT fingerprint SHA256:HEX\n"
              "TCP and UDP share the port number. The first start makes the daemon's key in the state directory.\n"
              "Exit status: 2 configuration, 3 cannot bind.",
   .examples = "penstockd serve --root /srv/files\n"
               "penstockd serve --root /srv/files --listen 192.0.2.7:7440 --listen [2001:db8::7]:7440\n"
               "penstockd serve --config /etc/penstock/penstockd.toml"},
  {.words = "token", .operands = "",
   .summary = "make a token with which one client registers, once",
   .details = "Prints the token alone on standard output. May run before or beside `serve`. As root it acts as the\n"
              "owner of the state directory.",
   .examples = "penstockd token --user ann --grant rw:/projects --grant r:/library\n"
               "penstockd token --user uploads --grant w:/in --ttl 15m  a drop box: create only"},
  {.words = "tokens list", .operands = "", .summary = "list tokens: open, used, expired or revoked"},
  {.words = "tokens revoke", .operands = "ID", .operands_min = 1, .operands_max = 1, .summary = "make a token worthless"},
  {.words = "clients list", .operands = "", .summary = "list registered clients with their grants"},
  {.words = "clients grant", .operands = "UUID GRANT...", .operands_min = 2, .operands_max = any_number,
   .summary = "replace the grants of a client",
   .examples = "penstockd clients grant 6e0f5c1e-... rw:/projects r:/library"},
  {.words = "clients revoke", .operands = "UUID", .operands_min = 1, .operands_max = 1,
   .summary = "shut a client out; its live sessions end within a second"},
  {.words = "check-config", .operands = "", .summary = "read the configuration as `serve` would, say what is wrong with it",
   .examples = "penstockd check-config --config /etc/penstock/penstockd.toml"},
  {.words = "status", .operands = "", .summary = "how the daemon is",
   .not_yet = "the commands that look into a running daemon come with a later version"},
  {.words = "sessions", .operands = "", .summary = "who is connected",
   .not_yet = "the commands that look into a running daemon come with a later version"},
  {.words = "cancel", .operands = "ID", .operands_min = 1, .operands_max = 1, .summary = "end a transfer",
   .not_yet = "the commands that look into a running daemon come with a later version"},
  {.words = "partials list", .operands = "", .summary = "list unfinished transfers",
   .not_yet = "the partials commands come with a later version"},
  {.words = "partials purge", .operands = "", .summary = "remove unfinished transfers",
   .not_yet = "the partials commands come with a later version"},
  {.words = "backup", .operands = "DIR", .operands_min = 1, .operands_max = 1, .summary = "copy the state safely",
   .not_yet = "backup comes with a later version; stop the daemon and copy the state directory"},
};

namespace penstockd_on {
constexpr CommandSet all = on_all(penstockd_commands);
constexpr CommandSet serving = on(penstockd_commands, {"serve", "check-config"});
constexpr CommandSet serve = on(penstockd_commands, {"serve"});
constexpr CommandSet token = on(penstockd_commands, {"token"});
constexpr CommandSet all_but_serve = {all.bits & ~serve.bits};
}  // namespace penstockd_on

inline constexpr OptionSpec penstockd_options[] = {
  {.name = "--root", .value_name = "DIR", .commands = penstockd_on::serving,
   .help = "The directory that clients see as `/`. It has no default. The state directory may not be beneath it, nor the "
           "reverse.", .setting = "root"},
  {.name = "--state", .value_name = "DIR", .commands = penstockd_on::all,
   .help = "Key, registry, journals and receipts. Default: $STATE_DIRECTORY, else /var/lib/penstock for root, else "
           "$XDG_STATE_HOME/penstock.", .setting = "state"},
  {.name = "--config", .value_name = "FILE", .commands = penstockd_on::all,
   .help = "Configuration file (TOML). Without it none is read."},
  {.name = "--listen", .value_name = "ADDR:PORT", .commands = penstockd_on::serving,
   .help = "Address for TCP and UDP; may be repeated. Port 0 picks one number that is free for both.",
   .default_text = "[::]:7440", .setting = "listen", .repeat = Repeat::accumulates},
  {.name = "--udp-advertise", .value_name = "HOST:PORT", .commands = penstockd_on::serving,
   .help = "Where clients reach the UDP port, if it is not the address of the TCP connection (NAT).",
   .setting = "udp_advertise"},
  {.name = "--cert", .value_name = "FILE", .commands = penstockd_on::serving,
   .help = "The operator's own certificate (PEM), with --key.", .setting = "cert"},
  {.name = "--key", .value_name = "FILE", .commands = penstockd_on::serving,
   .help = "Its private RSA key (PEM).", .setting = "key"},
  {.name = "--invite", .value_name = "NAME", .commands = penstockd_on::serve,
   .help = "invitations come with a later version; `penstockd token --user NAME` makes a token",
   .standing = Standing::reserved},
  {.name = "--discard", .commands = penstockd_on::serving,
   .help = "A benchmark of the network path: what clients push is thrown away, NOTHING IS STORED. A push then ends with "
           "exit 10 and no receipt, and says why. Pulls and all else are served as ever.", .setting = "discard"},
  {.name = "--workers", .value_name = "N", .commands = penstockd_on::serving,
   .help = "Threads that receive and send datagrams, 1 to 16. A transfer has one of them. Default: as many as processors, 16 "
           "at most.", .setting = "workers"},
  {.name = "--busy-poll", .value_name = "TIME", .commands = penstockd_on::serving,
   .help = "How long each of them asks for datagrams again before it sleeps, such as 50us: saves wake-ups, burns that much "
           "of a core after every burst. 10ms at most.", .default_text = "0", .setting = "busy_poll"},
  {.name = "--log-format", .value_name = "text|json", .commands = penstockd_on::serving,
   .help = "Log lines on standard error.", .default_text = "text", .setting = "log_format"},

  {.name = "--user", .value_name = "NAME", .commands = penstockd_on::token,
   .help = "Whom the token is for; a label of letters, digits, `.`, `_` and `-`."},
  {.name = "--grant", .value_name = "r|rw|w:/PATH", .commands = penstockd_on::token,
   .help = "What the client may do beneath PATH: r read, rw read and write, w create only. May be repeated. Without one: "
           "rw:/.", .repeat = Repeat::accumulates},
  {.name = "--ttl", .value_name = "TIME", .commands = penstockd_on::token,
   .help = "How long the token may be used.", .default_text = "24h"},

  {.name = "--json", .commands = penstockd_on::all_but_serve,
   .help = "One JSON object a line on standard output: first `start`, last `done` or `error`."},
  {.name = "--help", .short_name = "-h", .commands = penstockd_on::all, .help = "Print this."},
  {.name = "--version", .commands = penstockd_on::all, .help = "Print the version."},
};

inline constexpr ProgramSpec penstockd_table = {
  .name = "penstockd",
  .summary = "the daemon: serves the files beneath one directory to registered clients",
  .commands = penstockd_commands,
  .options = penstockd_options,
  .topics =
    "FROM NOTHING TO THE FIRST TRANSFER\n"
    "  here   penstockd serve --root /data\n"
    "  here   penstockd token --user ann --grant rw:/in\n"
    "  there  penstock register HOST --token -\n"
    "  there  penstock push DIR HOST:/in/\n"
    "\n"
    "EXIT STATUS\n"
    "  0 done   1 failed   2 usage or configuration   3 cannot bind   5 no such client or token\n",
};
// clang-format on

}  // namespace penstock::tools
