#include "control/client/transfer_request.h"

#include <filesystem>
#include <string_view>

#include "common/bytes/view.h"
#include "control/gate/fec_words.h"
#include "control/transfer/resume_key.h"

namespace penstock::control {
namespace {

proto::Overwrite encode(OverwriteMode mode) {
  switch (mode) {
    case OverwriteMode::never:
      return proto::NEVER;
    case OverwriteMode::skip:
      return proto::SKIP;
    case OverwriteMode::changed:
      return proto::CHANGED;
    case OverwriteMode::always:
      return proto::ALWAYS;
  }
  return proto::NEVER;
}
std::string_view word_of(OverwriteMode mode) {
  switch (mode) {
    case OverwriteMode::never:
      return "never";
    case OverwriteMode::skip:
      return "skip";
    case OverwriteMode::changed:
      return "changed";
    case OverwriteMode::always:
      return "always";
  }
  return "never";
}
proto::Links encode(LinkMode mode) {
  switch (mode) {
    case LinkMode::keep:
      return proto::KEEP;
    case LinkMode::follow:
      return proto::FOLLOW;
    case LinkMode::skip:
      return proto::LINKS_SKIP;
  }
  return proto::KEEP;
}
std::string_view word_of(LinkMode mode) {
  switch (mode) {
    case LinkMode::keep:
      return "keep";
    case LinkMode::follow:
      return "follow";
    case LinkMode::skip:
      return "skip";
  }
  return "keep";
}

}  // namespace

std::string path_of(const SourceWord& source) {
  std::string path = source.path;
  if (source.contents) path += "/.";
  return path;
}

std::string absolute_local(const std::string& path, bool contents) {
  std::error_code failed;
  auto absolute = std::filesystem::absolute(path, failed).lexically_normal().string();
  if (failed) absolute = path;
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  if (contents) absolute += "/.";
  return absolute;
}

digest::Algorithm algorithm_of(DigestKind kind) {
  return kind == DigestKind::sha256 ? digest::Algorithm::sha256 : digest::Algorithm::xxh3;
}

LandingNames landing_of(const TransferWords& words) {
  LandingNames names;
  names.container = words.container;
  for (const auto& source : words.sources) names.roots.push_back({source.last_name, source.contents});
  return names;
}

storage::ResumeKey resume_key_of(const TransferRequest& request, const Pin& daemon) {
  const auto& words = request.words;
  TransferIdentity identity;
  identity.operation = to_string(request.operation);
  identity.daemon = daemon;
  for (const auto& source : words.sources)
    identity.sources.push_back(request.push() ? absolute_local(source.path, source.contents) : path_of(source));
  identity.destination = request.push() ? words.destination : absolute_local(words.destination, false);
  identity.container = words.container;
  identity.overwrite = word_of(request.options.overwrite);
  identity.digest = request.options.digest == DigestKind::sha256 ? "sha256" : "xxh3";
  identity.links = word_of(request.options.links);
  return resume_key_of(identity);
}

proto::OpenTransfer open_message_of(const TransferRequest& request, const Pin& daemon,
                                    const std::optional<storage::TransferId>& attach, bool resume) {
  const auto& words = request.words;
  const auto& options = request.options;
  proto::OpenTransfer open;
  open.set_direction(request.push() ? proto::PUSH : proto::PULL);
  for (const auto& source : words.sources) {
    auto* root = open.add_roots();
    if (!request.push()) root->set_path(source.path);
    root->set_name(source.last_name);
    root->set_contents(source.contents);
  }
  open.set_resume_key(std::string{bytes::as_text(resume_key_of(request, daemon))});
  if (attach) open.set_transfer_id(std::string{bytes::as_text(*attach)});
  open.set_resume(resume);
  open.set_destination(words.destination);
  open.set_destination_is_container(words.container);
  open.set_overwrite(encode(options.overwrite));
  open.set_digest(options.digest == DigestKind::sha256 ? proto::SHA256 : proto::XXH3);
  open.set_links(encode(options.links));
  open.set_congestion(std::string{to_string(options.congestion)});
  open.set_fec(fec_name(options.fec));
  if (options.rate) open.set_rate_bps(options.rate->bits_per_second());
  open.set_dry_run(options.dry_run);
  open.set_heeds_discarded(request.push());
  return open;
}

}  // namespace penstock::control
