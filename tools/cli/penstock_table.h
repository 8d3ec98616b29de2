#pragma once

#include <string_view>

#include "tools/cli/option_table.h"

namespace penstock::tools {

// The one table of `penstock` (CLI.md sections 1 and 3).

// clang-format off
inline constexpr CommandSpec penstock_commands[] = {
  {.words = "register", .operands = "HOST[:PORT]", .operands_min = 1, .operands_max = 1,
   .summary = "make this client known to a daemon, once",
   .details = "Makes a key of this client's own, proves it to the daemon and spends the token. The token carries the\n"
              "daemon's fingerprint, so that the daemon is checked before the token leaves this machine.",
   .examples = "penstock register files.example.org --token -  asks for the token, so that it is in no history\n"
               "penstock register [2001:db8::7]:7441 --token-file token.txt  another port, the token from a file"},
  {.words = "push", .operands = "SRC... REMOTE", .operands_min = 2, .operands_max = any_number,
   .summary = "send files and directories to a daemon",
   .details = "Every SRC is local, even with colons in it; the last word is remote. What lands where depends on the\n"
              "words alone, so that the same command again resumes what was interrupted:\n"
              "  DEST ending in `/`, or `.` or `..`: each SRC goes inside under its own last name.\n"
              "  Otherwise DEST is the target's own name; several SRC need the `/`.\n"
              "  `SRC/.` means what is in SRC. Missing parents of DEST are made.\n"
              "A directory onto an existing one is merged only with --overwrite skip, changed or always.",
   .examples = "penstock push film.mov files.example.org:/in/  the file goes into /in\n"
               "penstock push shots host:/shots  the directory becomes /shots\n"
               "penstock push --rate 500M --overwrite changed shots host:/shots  again, only what changed"},
  {.words = "pull", .operands = "REMOTE... DEST", .operands_min = 2, .operands_max = any_number,
   .summary = "fetch files and directories from a daemon",
   .details = "Every REMOTE is on one host; DEST is local. What lands where: as for push (`penstock push --help`).",
   .examples = "penstock pull host:/out/film.mov .  into this directory\n"
               "penstock pull host:/shots/. backup/  what is in /shots, into backup"},
  {.words = "ls", .operands = "REMOTE", .operands_min = 1, .operands_max = 1,
   .summary = "list a remote directory",
   .details = "`ls HOST:/` shows only what is granted.",
   .examples = "penstock ls -l host:/out  with mode, size and time"},
  {.words = "stat", .operands = "REMOTE", .operands_min = 1, .operands_max = 1,
   .summary = "show one remote file or directory", .examples = "penstock stat host:/out/film.mov"},
  {.words = "mkdir", .operands = "REMOTE", .operands_min = 1, .operands_max = 1,
   .summary = "make a remote directory", .examples = "penstock mkdir -p host:/in/2026/07  with its parents"},
  {.words = "rm", .operands = "REMOTE", .operands_min = 1, .operands_max = 1,
   .summary = "remove a remote file or directory",
   .examples = "penstock rm host:/in/old.mov\npenstock rm -r host:/in/2025  with all that is in it"},
  {.words = "digest", .operands = "REMOTE", .operands_min = 1, .operands_max = 1,
   .summary = "SHA-256 of a remote file, as sha256sum prints it", .examples = "penstock digest host:/out/film.mov"},
  {.words = "mv", .operands = "HOST:/A /B", .operands_min = 2, .operands_max = 2,
   .summary = "rename a remote file or directory; nothing is replaced",
   .examples = "penstock mv host:/in/a.mov /done/a.mov"},
  {.words = "ping", .operands = "HOST[:PORT]", .operands_min = 1, .operands_max = 1,
   .summary = "measure the way to a daemon",
   .details = "Control round trip, UDP, path MTU, loss and achievable rate; with -v whether ECN can be used, and which fast\n"
              "paths are on.\n"
              "Rate and loss come from sending bytes that the daemon throws away, for 2.5 seconds and some round trips:\n"
              "  rate  bits of IP packets a second that arrive, the most that was held for two round trips. The path\n"
              "        is filled for that: others on it notice for half a second.\n"
              "  loss  share of the packets lost at three fifths of that rate, and of how many. Loss by an overfull\n"
              "        queue is not counted.\n"
              "JSON: control_rtt_ms, udp, rtt_ms (the shortest), rtt_smoothed_ms, path_mtu, rate_bps, loss (a fraction),\n"
              "loss_packets, ecn (usable, or what is wrong with it), fast_paths (ours), fast_paths_there (the daemon's),\n"
              "hint (what would make our end faster), aead, software. What is not known is null, and `unmeasured` says\n"
              "why.\n"
              "No grant is needed. A daemon that is busy, or too old, measures neither rate nor loss.",
   .examples = "penstock ping -v host"},
  {.words = "receipt list", .operands = "", .summary = "list the receipts of finished transfers"},
  {.words = "receipt show", .operands = "ID", .operands_min = 1, .operands_max = 1,
   .summary = "print one receipt; --sums in the format of sha256sum or xxhsum",
   .examples = "penstock receipt show 7f3a --sums  lists the files with their digests"},
  {.words = "receipt verify", .operands = "FILE", .operands_min = 1, .operands_max = 1,
   .summary = "check a receipt's signature against the pinned daemon",
   .details = "XXH3 digests guard against faulty disks; they are no evidence against tampering. --digest sha256 is."},
  {.words = "receipt check", .operands = "FILE DIR", .operands_min = 2, .operands_max = 2,
   .summary = "compare the files beneath DIR with a receipt"},
  {.words = "hosts list", .operands = "", .summary = "list the daemons that this client knows",
   .not_yet = "the hosts commands come with a later version"},
  {.words = "hosts forget", .operands = "HOST", .operands_min = 1, .operands_max = 1,
   .summary = "forget a daemon", .not_yet = "the hosts commands come with a later version"},
  {.words = "partials list", .operands = "", .summary = "list unfinished transfers of this client",
   .not_yet = "the partials commands come with a later version"},
  {.words = "partials purge", .operands = "", .summary = "give up unfinished transfers",
   .not_yet = "the partials commands come with a later version"},
  {.words = "completion", .operands = "SHELL", .operands_min = 1, .operands_max = 1,
   .summary = "print completions for bash, zsh or fish", .not_yet = "completions come with a later version"},
};

namespace penstock_on {
constexpr CommandSet all = on_all(penstock_commands);
constexpr CommandSet transfers = on(penstock_commands, {"push", "pull"});
constexpr CommandSet network = on(penstock_commands, {"register", "push", "pull", "ls", "stat", "mkdir", "rm", "digest", "mv", "ping"});
}  // namespace penstock_on

inline constexpr OptionSpec penstock_options[] = {
  {.name = "--token", .value_name = "-|TOKEN", .commands = on(penstock_commands, {"register"}),
   .help = "The token that the operator made with `penstockd token`. `-` reads it from standard input, which keeps it out of "
           "the shell's history and the process list.", .secret = true},
  {.name = "--token-file", .value_name = "FILE", .commands = on(penstock_commands, {"register"}),
   .help = "A file whose first line is the token."},
  {.name = "--fingerprint", .value_name = "SHA256:HEX", .commands = on(penstock_commands, {"register"}),
   .help = "The daemon's fingerprint as its operator told it: another one is refused."},
  {.name = "--ca", .value_name = "FILE", .commands = on(penstock_commands, {"register"}),
   .help = "Certificates (PEM) that vouch for the daemon by its host name, instead of a fingerprint."},

  {.name = "--cc", .value_name = "bbr|cubic|fixed|scavenger", .commands = penstock_on::transfers,
   .help = "Congestion control. `fixed` sends at --rate whatever happens, for links that are yours alone. `scavenger` takes "
           "what others leave: it gives way as soon as somebody else fills the path.",
   .default_text = "bbr", .setting = "cc", .environment = "PENSTOCK_CC"},
  {.name = "--rate", .value_name = "RATE", .commands = penstock_on::transfers,
   .help = "Send at most so fast: 500M is 500 000 000 bit/s of IP bytes, 60MB is bytes a second. k M G T are powers of "
           "1000, Ki Mi Gi of 1024.", .setting = "rate", .environment = "PENSTOCK_RATE"},
  {.name = "--fec", .value_name = "auto|off|K,M", .commands = penstock_on::transfers,
   .help = "Forward error correction: repair symbols, from which the receiver computes what was lost. `auto` protects the end of "
           "a transfer, where a repeat is waited for, in proportion to the measured loss, and sends nothing where nothing is "
           "lost. `K,M` sends M repair symbols for each K datagrams, 128 at most each, all the way.",
   .default_text = "auto", .setting = "fec", .environment = "PENSTOCK_FEC"},
  {.name = "--lanes", .value_name = "N", .commands = penstock_on::transfers,
   .help = "Spread one transfer over so many lanes, 64 at most, each with a thread at both ends; the daemon takes part "
           "with as many as it has workers. For machines with cores to spare. Together they take one flow's share "
           "of the path.",
   .default_text = "1", .setting = "lanes", .environment = "PENSTOCK_LANES"},
  {.name = "--data", .value_name = "auto|udp|tcp", .commands = penstock_on::transfers,
   .help = "How file bytes travel. auto: by UDP; by the control connection while UDP does not get through, and by UDP again when "
           "it does. udp: never by TCP. tcp: no datagram is ever sent.",
   .default_text = "auto", .setting = "data", .environment = "PENSTOCK_DATA"},
  {.name = "--mtu", .value_name = "N", .commands = penstock_on::transfers,
   .help = "Largest IP packet to send, 1280 to 65535 bytes. Without it the path is searched.",
   .setting = "mtu", .environment = "PENSTOCK_MTU"},
  {.name = "--digest", .value_name = "xxh3|sha256", .commands = penstock_on::transfers,
   .help = "Digests of the receipt. `sha256` adds a SHA-256 for each file, that sha256sum agrees with.",
   .default_text = "xxh3", .setting = "digest", .environment = "PENSTOCK_DIGEST"},
  {.name = "--overwrite", .value_name = "never|skip|changed|always", .commands = penstock_on::transfers,
   .help = "What to do where the target exists. never: end with exit 6. skip: leave it alone. changed: replace it if type, "
           "size, time or link target differ. always: replace it. Replacement is by rename.",
   .default_text = "never", .setting = "overwrite", .environment = "PENSTOCK_OVERWRITE"},
  {.name = "--links", .value_name = "keep|follow|skip", .commands = penstock_on::transfers,
   .help = "Symbolic links inside a tree. A SRC that is itself a link is followed.",
   .default_text = "keep", .setting = "links", .environment = "PENSTOCK_LINKS"},
  {.name = "--resume", .commands = penstock_on::transfers,
   .help = "Go on where an interrupted run of the same command stopped (the default).", .setting = "resume",
   .cancelled_by = "--no-resume"},
  {.name = "--no-resume", .commands = penstock_on::transfers, .help = "Send all anew, over what an interrupted run left.",
   .cancelled_by = "--resume"},
  {.name = "--include", .value_name = "GLOB", .commands = penstock_on::transfers, .help = "filters come with a later version",
   .repeat = Repeat::accumulates, .standing = Standing::reserved},
  {.name = "--exclude", .value_name = "GLOB", .commands = penstock_on::transfers, .help = "filters come with a later version",
   .repeat = Repeat::accumulates, .standing = Standing::reserved},
  {.name = "--files-from", .value_name = "FILE", .commands = penstock_on::transfers,
   .help = "lists of files come with a later version", .standing = Standing::reserved},
  {.name = "-0", .commands = penstock_on::transfers, .help = "lists of files come with a later version",
   .standing = Standing::reserved},
  {.name = "--dry-run", .short_name = "-n", .commands = penstock_on::transfers,
   .help = "Say what would be done to each file; send nothing."},
  {.name = "--remove-source", .commands = penstock_on::transfers,
   .help = "removing sources after a verified receipt comes with a later version", .standing = Standing::reserved},

  {.name = "-l", .commands = on(penstock_commands, {"ls"}), .help = "Mode, size and time of each entry."},
  {.name = "-p", .commands = on(penstock_commands, {"mkdir"}),
   .help = "Make missing parents too; an existing directory is fine."},
  {.name = "-r", .commands = on(penstock_commands, {"rm"}), .help = "A directory with all that is in it."},
  {.name = "--sums", .commands = on(penstock_commands, {"receipt show"}), .help = "Only digests and paths, one file a line."},

  {.name = "--connect-timeout", .value_name = "TIME", .commands = penstock_on::network,
   .help = "Give up when the daemon does not answer for so long.", .default_text = "15s", .setting = "connect_timeout",
   .environment = "PENSTOCK_CONNECT_TIMEOUT"},
  {.name = "--timeout", .value_name = "TIME", .commands = penstock_on::network,
   .help = "Give up, resumable, when no byte became durable for so long; meanwhile lost connections are made again. "
           "0: never.", .default_text = "5m", .setting = "timeout", .environment = "PENSTOCK_TIMEOUT"},
  {.name = "--config", .value_name = "FILE", .commands = penstock_on::all,
   .help = "Configuration to read instead of config.toml in $PENSTOCK_HOME, else in $XDG_CONFIG_HOME/penstock."},
  {.name = "--json", .commands = penstock_on::all,
   .help = "One JSON object a line on standard output: first `start`, last `done` or `error`."},
  {.name = "-q", .commands = penstock_on::all, .help = "Errors only.", .cancelled_by = "-v"},
  {.name = "-v", .commands = penstock_on::all, .help = "Say more: each file, each step.", .cancelled_by = "-q"},
  {.name = "--help", .short_name = "-h", .commands = penstock_on::all, .help = "Print this."},
  {.name = "--version", .commands = penstock_on::all, .help = "Print the version."},

  {.name = "-r", .commands = penstock_on::transfers, .help = "Directories are always sent whole.", .standing = Standing::ignored},
  {.name = "-a", .commands = penstock_on::transfers, .help = "Links, modes and times are always kept.", .standing = Standing::ignored},
  {.name = "-p", .commands = penstock_on::transfers, .help = "Modes and times are always kept.", .standing = Standing::ignored},
  {.name = "-P", .commands = penstock_on::all, .help = "write the port into the address: HOST:PORT for register and ping, "
           "HOST:PORT:/PATH elsewhere", .standing = Standing::refused},
  {.name = "--delete", .commands = penstock_on::all, .help = "removing what the source lacks comes with a later version",
   .standing = Standing::reserved},
  {.name = "-u", .commands = penstock_on::all, .help = "it is reserved; --overwrite changed replaces what differs",
   .standing = Standing::reserved},
  {.name = "-z", .commands = penstock_on::all, .help = "compression comes with a later version", .standing = Standing::reserved},
  {.name = "--checksum", .commands = penstock_on::all, .help = "comparing by content comes with a later version",
   .standing = Standing::reserved},
  {.name = "--ssh", .commands = penstock_on::all, .help = "starting the daemon through ssh comes with a later version",
   .standing = Standing::reserved},
  {.name = "--xattrs", .commands = penstock_on::all, .help = "extended attributes come with a later version",
   .standing = Standing::reserved},
  {.name = "--acls", .commands = penstock_on::all, .help = "access control lists come with a later version",
   .standing = Standing::reserved},
};

inline constexpr ProgramSpec penstock_table = {
  .name = "penstock",
  .summary = "move large or many files, fast over long and lossy links, verified and resumable",
  .commands = penstock_commands,
  .options = penstock_options,
  .topics =
    "ADDRESSES\n"
    "  REMOTE is [NAME@]HOST[:PORT]:/PATH or penstock://HOST[:PORT]/PATH (percent-encoded). HOST is a name, an IPv4\n"
    "  address, an IPv6 address in brackets, or an alias of config.toml. Port 7440 unless said. PATH begins with `/`,\n"
    "  which is the daemon's --root.\n"
    "\n"
    "FROM NOTHING TO THE FIRST TRANSFER\n"
    "  there  penstockd serve --root /data\n"
    "  there  penstockd token --user ann --grant rw:/in\n"
    "  here   penstock register HOST --token -\n"
    "  here   penstock push DIR HOST:/in/\n"
    "  The same command again after any interruption resumes.\n"
    "\n"
    "CONFIGURATION\n"
    "  An option beats the environment, which beats [host.ALIAS], which beats [defaults] of config.toml.\n"
    "  $PENSTOCK_TOKEN  registers with an unregistered host first.   $NO_COLOR  no colours.\n"
    "\n"
    "EXIT STATUS\n"
    "  0 done   1 failed   2 usage   3 no connection   4 not let in   5 path refused   6 target exists\n"
    "  7 integrity   8 no space   9 timed out   10 partly done   129, 130, 143 ended by a signal\n",
};
// clang-format on

}  // namespace penstock::tools
