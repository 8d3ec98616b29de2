#include "tools/run/client_actions.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "common/escape.h"
#include "control/gate/token.h"
#include "tools/output/quantities.h"
#include "tools/output/summary.h"
#include "tools/run/hidden_typing.h"
#include "tools/run/receipt_actions.h"
#include "tools/run/reporting_observer.h"
#include "tools/run/signals.h"

namespace penstock::tools {
namespace {

using namespace std::chrono_literals;

/// Of the 2 s that CLI.md section 3 allows; the rest is for the last line and the kernel.
inline constexpr Duration stop_grace = 1800ms;
inline constexpr std::size_t token_text_max = 1024;

int signal_exit(int signal) { return 128 + signal; }

Error interrupted(int signal) {
  return {ErrorCode::INTERRUPTED,
          fmt::format("ended by SIG{}; the same command again resumes", ::sigabbrev_np(signal))};
}

/// The client that runs, if any, as the signal thread sees it.
class RunningClient {
 public:
  /// False when a signal came before the client did.
  void set(control::Client* client) {
    const std::lock_guard lock{mutex_};
    client_ = client;
    if (client_ && signal_ != 0) client_->request_stop(signal_);
  }
  /// False when there is no client that could stop in order.
  bool stop(int signal) {
    const std::lock_guard lock{mutex_};
    if (signal_ == 0) signal_ = signal;
    if (client_) client_->request_stop(signal);
    return client_ != nullptr;
  }
  void ask_for_progress() {
    const std::lock_guard lock{mutex_};
    if (client_) client_->request_progress();
  }
  /// The first signal; 0 when none came.
  [[nodiscard]] int signal() const {
    const std::lock_guard lock{mutex_};
    return signal_;
  }

 private:
  mutable std::mutex mutex_;
  control::Client* client_ = nullptr;
  int signal_ = 0;
};

class ClientRun {
 public:
  ClientRun(const ClientCommand& command, Output& out, std::chrono::steady_clock::time_point started)
      : command_(command), out_(out), started_(started), observer_(out) {}

  int run() {
    const SignalWatch signals{{
        .on_stop =
            [this](int signal, unsigned count) {
              if (count > 1 || !running_.stop(signal)) end_now(signal);
            },
        .on_grace_over = [this](int signal) { end_now(signal); },
        .grace = stop_grace,
        .on_usr1 =
            [this] {
              observer_.ask_for_progress();
              running_.ask_for_progress();
            },
    }};
    return std::visit([this](const auto& action) { return act(action); }, command_.action);
  }

 private:
  [[noreturn]] void end_now(int signal) {
    typing_.show();
    out_.error(interrupted(signal), signal_exit(signal));
    ::_exit(signal_exit(signal));
  }

  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  }

  int failed(const Error& error) {
    const int signal = running_.signal();
    if (signal != 0 && error.code == ErrorCode::INTERRUPTED) return out_.error(error, signal_exit(signal));
    return out_.error(error);
  }
  template <class Fill>
  int done(Fill fill) {
    out_.done([&](JsonLine& line) {
      fill(line);
      line.decimal("seconds", seconds());
    });
    return 0;
  }
  int done() {
    return done([](JsonLine&) {});
  }

  /// Runs `call` with a client that signals can reach.
  template <class Call>
  auto with_client(const control::ClientConfig& config, Call call) {
    control::Client client{config, observer_};
    running_.set(&client);
    auto result = call(client);
    running_.set(nullptr);
    return result;
  }

  // register

  Result<std::string> read_token(const RegisterCommand& action) {
    std::string text;
    text.reserve(token_text_max);  // else each time that it grows a part of the token would stay behind
    switch (action.token_from) {
      case RegisterCommand::TokenFrom::word:
        text = action.token;
        break;
      case RegisterCommand::TokenFrom::file: {
        std::ifstream file{action.token};
        if (!std::getline(file, text) && !file.eof())
          return error_from_errno(errno, "read the token file", action.token);
        if (!file.is_open()) return error_from_errno(errno, "open the token file", action.token);
        break;
      }
      case RegisterCommand::TokenFrom::standard_input:
        if (::isatty(0) == 1) {
          typing_.hide(0);
          std::cerr << "token: " << std::flush;
        }
        std::getline(std::cin, text);
        typing_.show();
        break;
    }
    if (text.size() > token_text_max) text.clear();
    if (text.empty())
      return Error{ErrorCode::TOKEN_REFUSED,
                   "there is no token to read; the operator makes one with `penstockd token`"};
    return text;
  }

  int act(const RegisterCommand& action) {
    auto token = read_token(action);
    if (!token) return failed(token.error());
    auto registered =
        with_client(action.client, [&](control::Client& client) { return client.register_client(*token); });
    control::wipe_text(*token);
    if (!registered) return failed(registered.error());
    std::string grants;
    for (const auto& grant : registered->grants) grants.append(grants.empty() ? "" : " ").append(grant);
    out_.note(fmt::format("{} knows this client as {}; granted: {}", peer(action.client), registered->user,
                          escape_for_display(grants)));
    return done([&](JsonLine& line) {
      line.text("uuid", registered->uuid)
          .text("user", registered->user)
          .text("fingerprint", registered->fingerprint)
          .texts("grants", registered->grants);
    });
  }

  static std::string peer(const control::ClientConfig& client) {
    return fmt::format("{}:{}", client.host.find(':') == std::string::npos ? client.host : "[" + client.host + "]",
                       client.port);
  }

  // push and pull

  int act(const PushCommand& action) {
    return transferred(
        "pushed",
        with_client(action.client, [&](control::Client& client) { return client.push(action.words, action.transfer); }),
        action.transfer.dry_run);
  }
  int act(const PullCommand& action) {
    return transferred(
        "pulled",
        with_client(action.client, [&](control::Client& client) { return client.pull(action.words, action.transfer); }),
        action.transfer.dry_run);
  }

  int transferred(std::string_view verb, const Result<control::TransferSummary>& result, bool dry_run) {
    if (!result) return failed(result.error());
    control::TransferSummary summary = *result;
    if (!summary.transfer.empty()) out_.set_transfer(summary.transfer);
    if (dry_run) {
      const auto& files = observer_.files();
      out_.note(dry_run_summary_text(verb, {.wanted = files.wanted,
                                            .wanted_bytes = files.wanted_bytes,
                                            .skipped = files.skipped,
                                            .refused = files.refused}));
      // Nothing was sent: the files that would be, and what is here already.
      summary.files = files.wanted;
      summary.files_skipped = files.skipped;
      summary.bytes_skipped = files.skipped_bytes;
      summary.bytes = files.skipped_bytes;
    } else {
      out_.note(transfer_summary_text(summary.discarded ? "discarded" : verb, summary, seconds()));
    }
    const auto fill = [&](JsonLine& line) {
      line.number("files", summary.files)
          .number("bytes", summary.bytes)
          .number("bytes_sent", summary.bytes_sent)
          .number("bytes_resumed", summary.bytes_resumed)
          .number("bytes_skipped", summary.bytes_skipped)
          .number("files_skipped", summary.files_skipped)
          .number("files_failed", summary.files_failed)
          .number("goodput_bps", summary.goodput_bps)
          .number("packets_sent", summary.packets_sent)
          .number("packets_lost", summary.packets_lost)
          .number("bytes_retransmitted", summary.bytes_retransmitted)
          .number("fec_recovered", summary.fec_recovered)
          .decimal("rtt_ms", summary.rtt_ms);
      if (summary.tail_ms)
        line.decimal("tail_ms", *summary.tail_ms);
      else
        line.null("tail_ms");
      line.text("data", summary.data)
          .text_or_null("limited_by", summary.limited_by)
          .text_or_null("digest", summary.digest);
      if (summary.receipt.empty()) {
        line.null("receipt");
      } else {
        line.path("receipt", summary.receipt.native());
      }
      if (summary.discarded) line.flag("discarded", true);
    };
    // What was left out decides the exit status, so that it is the error which comes last; the numbers ride along.
    if (summary.partial)
      return out_.error(*summary.partial, std::nullopt, [&](JsonLine& line) {
        fill(line);
        line.decimal("seconds", seconds());
      });
    return done(fill);
  }

  // files over there

  int act(const ListCommand& action) {
    observer_.set_listing({action.path, action.long_format});
    const auto listed = with_client(action.client, [&](control::Client& client) { return client.list(action.path); });
    if (!listed) return failed(listed.error());
    return done([&](JsonLine& line) { line.number("entries", observer_.entries()); });
  }
  int act(const StatCommand& action) {
    auto entry = with_client(action.client, [&](control::Client& client) { return client.stat(action.path); });
    if (!entry) return failed(entry.error());
    // As ls names it: the last name. Only `/` has none.
    if (action.path != "/") entry->name = action.path.substr(action.path.rfind('/') + 1);
    out_.event("entry", [&](JsonLine& line) { add_entry_fields(line, *entry, action.path); });
    out_.answer(stat_text(*entry, action.path, out_.escape_answers()));
    return done();
  }
  int act(const MkdirCommand& action) {
    return finished(
        with_client(action.client, [&](control::Client& client) { return client.mkdir(action.path, action.parents); }));
  }
  int act(const RemoveCommand& action) {
    return finished(with_client(action.client,
                                [&](control::Client& client) { return client.remove(action.path, action.recursive); }));
  }
  int act(const RenameCommand& action) {
    return finished(
        with_client(action.client, [&](control::Client& client) { return client.rename(action.from, action.to); }));
  }
  int finished(const Status& status) { return status ? done() : failed(status.error()); }

  int act(const DigestCommand& action) {
    const auto digest = with_client(action.client, [&](control::Client& client) { return client.digest(action.path); });
    if (!digest) return failed(digest.error());
    out_.answer(sum_line(digest->sha256, action.path, out_.escape_answers()));
    return done([&](JsonLine& line) {
      line.path("path", action.path).text("digest", "sha256:" + digest->sha256).number("bytes", digest->size);
    });
  }

  int act(const PingCommand& action) {
    const auto ping = with_client(action.client, [&](control::Client& client) { return client.ping(); });
    if (!ping) return failed(ping.error());
    std::string text = fmt::format("{}  {}\ncontrol RTT  {:.3f} ms\nUDP          {}\n", peer(action.client),
                                   escape_for_display(ping->software), ping->control_rtt_ms,
                                   !ping->udp_reachable ? "no answer"
                                   : ping->udp_rtt_ms   ? fmt::format("RTT {:.3f} ms", *ping->udp_rtt_ms)
                                                        : "reachable");
    if (ping->path_mtu) text += fmt::format("path MTU     {}\n", *ping->path_mtu);
    if (ping->rate_bps) text += fmt::format("rate         {}\n", show_rate(*ping->rate_bps));
    if (ping->loss) text += fmt::format("loss         {} of {} packets\n", show_share(*ping->loss), ping->loss_packets);
    if (ping->udp_reachable && !ping->unmeasured.empty())
      text += fmt::format("not measured {}{}\n",
                          ping->rate_bps ? "loss: "
                          : ping->loss   ? "rate: "
                                         : "rate and loss: ",
                          escape_for_display(ping->unmeasured));
    if (out_.verbose()) {
      text += fmt::format("ECN          {}\n", !ping->ecn_reason.empty() ? "not usable: " + ping->ecn_reason
                                               : ping->ecn.empty()       ? "not measured"
                                                                         : ping->ecn);
      text += fmt::format("AEAD         {}\n", escape_for_display(ping->aead));
      const auto joined = [](const std::vector<std::string>& words) {
        std::string out;
        for (const auto& word : words) out.append(out.empty() ? "" : " ").append(word);
        return out;
      };
      text += fmt::format("fast paths   {}\n", joined(ping->fast_paths));
      text += fmt::format("at the far   {}\n",
                          ping->fast_paths_there.empty() ? "it does not say" : joined(ping->fast_paths_there));
      if (!ping->hint.empty()) text += fmt::format("hint         {}\n", ping->hint);
    }
    out_.answer(text);
    return done([&](JsonLine& line) {
      line.decimal("control_rtt_ms", ping->control_rtt_ms).flag("udp", ping->udp_reachable);
      const auto decimal_or_null = [&](std::string_view key, const std::optional<double>& value, int decimals) {
        if (value) {
          line.decimal(key, *value, decimals);
        } else {
          line.null(key);
        }
      };
      decimal_or_null("rtt_ms", ping->udp_rtt_ms, 3);
      decimal_or_null("rtt_smoothed_ms", ping->udp_rtt_smoothed_ms, 3);
      line.number_or_null("path_mtu", ping->path_mtu ? std::optional<std::uint64_t>{*ping->path_mtu} : std::nullopt);
      line.number_or_null("rate_bps", ping->rate_bps);
      decimal_or_null("loss", ping->loss, 6);
      line.number("loss_packets", ping->loss_packets)
          .text_or_null("ecn", ping->ecn)
          .text_or_null("unmeasured", ping->unmeasured)
          .text("aead", ping->aead)
          .texts("fast_paths", ping->fast_paths)
          .texts("fast_paths_there", ping->fast_paths_there)
          .text_or_null("hint", ping->hint)
          .text("software", ping->software);
    });
  }

  // receipts

  int act(const ReceiptListCommand&) { return listed(list_receipts(command_.home, out_)); }
  int act(const ReceiptShowCommand& action) { return finished(show_receipt(command_.home, action, out_)); }
  int act(const ReceiptVerifyCommand& action) {
    return finished(verify_receipt_file(command_.home, action.file, out_));
  }
  int act(const ReceiptCheckCommand& action) {
    const auto compared = check_receipt_file(command_.home, action, out_);
    if (!compared) return failed(compared.error());
    return done([&](JsonLine& line) { line.number("files", *compared); });
  }
  int listed(const Result<std::uint64_t>& count) {
    if (!count) return failed(count.error());
    return done([&](JsonLine& line) { line.number("entries", *count); });
  }

  const ClientCommand& command_;
  Output& out_;
  const std::chrono::steady_clock::time_point started_;
  ReportingObserver observer_;
  RunningClient running_;
  HiddenTyping typing_;
};

}  // namespace

int run_client_command(const ClientCommand& command, Output& out, std::chrono::steady_clock::time_point started) {
  return ClientRun{command, out, started}.run();
}

}  // namespace penstock::tools
