#include "control/server/file_requests.h"

#include <algorithm>
#include <string>

#include "common/bytes/view.h"
#include "control/gate/admission.h"
#include "control/server/access.h"
#include "control/transfer/message_codec.h"
#include "dataplane/storage/file_operations.h"

namespace penstock::control {
namespace {

void encode_info(const storage::FileInfo& info, proto::FileInfo& out) {
  out.set_name(info.name);
  out.set_type(encode_type(info.type));
  out.set_size(info.size);
  out.set_mode(info.mode);
  out.set_mtime_ns(info.mtime_ns);
  out.set_link_target(info.link_target);
}

/// Above and between the grants a client sees the way to them, and nothing else.
std::optional<proto::Envelope> list_way_to_grants(const proto::ListRequest& request, const std::vector<Grant>& grants,
                                                  int root_fd) {
  const auto where = path::SafePath::parse_absolute(request.path());
  if (!where || check_allowed(grants, *where, Operation::list, Extent::itself)) return std::nullopt;
  const auto names = visible_children(grants, *where);
  if (names.empty()) return std::nullopt;
  proto::Envelope reply;
  auto* list = reply.mutable_list_reply();
  for (const auto& name : names) {
    if (name <= request.after() && !request.after().empty()) continue;
    const auto component = path::Component::parse(name);
    if (!component) continue;
    auto info = storage::stat_file(root_fd, where->child(*component));
    if (!info) continue;  // granted, and not made yet
    info->name = name;
    encode_info(*info, *list->add_entries());
  }
  return reply;
}

Result<proto::Envelope> list(const proto::ListRequest& request, const std::vector<Grant>& grants, int root_fd) {
  if (auto towards = list_way_to_grants(request, grants, root_fd)) return std::move(*towards);
  const auto where = allowed_path(grants, request.path(), Operation::list, Extent::itself);
  if (!where) return where.error();
  const auto page = storage::list_directory(root_fd, *where, request.after(), list_page_entries);
  if (!page) return page.error();
  proto::Envelope reply;
  auto* out = reply.mutable_list_reply();
  for (const auto& entry : page->entries) encode_info(entry, *out->add_entries());
  out->set_more(page->more);
  return reply;
}

Result<proto::Envelope> stat(const proto::StatRequest& request, const std::vector<Grant>& grants, int root_fd) {
  auto where = path::SafePath::parse_absolute(request.path());
  if (!where) return where.error();
  if (auto allowed = check_allowed(grants, *where, Operation::list, Extent::itself);
      !allowed && visible_children(grants, *where).empty())
    return allowed.error();
  auto info = storage::stat_file(root_fd, *where);
  if (!info) return info.error();
  info->name = where->absolute_text();
  proto::Envelope reply;
  encode_info(*info, *reply.mutable_stat_reply()->mutable_info());
  return reply;
}

proto::Envelope done() {
  proto::Envelope reply;
  reply.mutable_done();
  return reply;
}

Result<proto::Envelope> mkdir(const proto::MkdirRequest& request, const std::vector<Grant>& grants, int root_fd) {
  const auto where = allowed_path(grants, request.path(), Operation::create, Extent::itself);
  if (!where) return where.error();
  const auto parents = request.parents() ? storage::Parents::create : storage::Parents::must_exist;
  if (auto status = storage::make_directory(root_fd, *where, parents); !status) return status.error();
  return done();
}

Error grant_root_stays(const path::SafePath& path) {
  return {ErrorCode::PERMISSION_DENIED, "what is granted itself can not be removed or renamed", path.absolute_text()};
}

Result<proto::Envelope> rename(const proto::RenameRequest& request, const std::vector<Grant>& grants, int root_fd) {
  const auto from = allowed_path(grants, request.from(), Operation::modify, Extent::tree);
  if (!from) return from.error();
  const auto to = allowed_path(grants, request.to(), Operation::create, Extent::tree);
  if (!to) return to.error();
  if (is_grant_root(grants, *from) || from->is_root()) return grant_root_stays(*from);
  if (auto status = storage::rename_file({root_fd, *from}, {root_fd, *to}); !status) return status.error();
  return done();
}

Result<proto::Envelope> remove(const proto::RemoveRequest& request, const std::vector<Grant>& grants, int root_fd) {
  const auto where = allowed_path(grants, request.path(), Operation::modify, Extent::tree);
  if (!where) return where.error();
  if (is_grant_root(grants, *where) || where->is_root()) return grant_root_stays(*where);
  const auto depth = request.recursive() ? storage::Depth::recursive : storage::Depth::single;
  if (auto status = storage::remove_file(root_fd, *where, depth); !status) return status.error();
  return done();
}

Result<proto::Envelope> digest(const proto::DigestRequest& request, const std::vector<Grant>& grants, int root_fd) {
  const auto where = allowed_path(grants, request.path(), Operation::read, Extent::itself);
  if (!where) return where.error();
  const auto sum = storage::sum_file(root_fd, *where);
  if (!sum) return sum.error();
  proto::Envelope reply;
  reply.mutable_digest_reply()->set_sha256(std::string{bytes::as_text(sum->sha256.bytes)});
  reply.mutable_digest_reply()->set_size(sum->size);
  return reply;
}

Result<proto::Envelope> answer(const proto::Envelope& request, const std::vector<Grant>& grants, int root_fd) {
  switch (request.body_case()) {
    case proto::Envelope::kList:
      return list(request.list(), grants, root_fd);
    case proto::Envelope::kStat:
      return stat(request.stat(), grants, root_fd);
    case proto::Envelope::kMkdir:
      return mkdir(request.mkdir(), grants, root_fd);
    case proto::Envelope::kRename:
      return rename(request.rename(), grants, root_fd);
    case proto::Envelope::kRemove:
      return remove(request.remove(), grants, root_fd);
    case proto::Envelope::kDigest:
      return digest(request.digest(), grants, root_fd);
    default:
      return Error{ErrorCode::INTERNAL, "this is no request about files"};
  }
}

}  // namespace

bool is_file_request(const proto::Envelope& envelope) {
  switch (envelope.body_case()) {
    case proto::Envelope::kList:
    case proto::Envelope::kStat:
    case proto::Envelope::kMkdir:
    case proto::Envelope::kRename:
    case proto::Envelope::kRemove:
    case proto::Envelope::kDigest:
      return true;
    default:
      return false;
  }
}

proto::Envelope answer_file_request(const proto::Envelope& request, const std::vector<Grant>& grants, int root_fd) {
  auto reply = answer(request, grants, root_fd);
  return reply ? std::move(*reply) : failure_envelope(reply.error());
}

}  // namespace penstock::control
