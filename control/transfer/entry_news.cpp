#include "control/transfer/entry_news.h"

#include "common/digest/xxh3.h"

namespace penstock::control {

void EntryNews::on_listed(std::uint64_t index, const storage::ManifestEntry& entry) {
  if (wanted_ == EntryNewsWanted::nothing) return;
  listed_.push_back({.report = {.index = index,
                                .root = entry.root,
                                .path = entry.path,
                                .target_path = {},
                                .size = entry.size,
                                .digest = digest::Xxh3{}},
                     .type = entry.type});
}

void EntryNews::on_decided(std::uint64_t decided, std::span<const storage::Verdict> exceptions,
                           std::span<const std::uint64_t> replaces) {
  if (wanted_ == EntryNewsWanted::nothing) return;
  replaces_.insert(replaces.begin(), replaces.end());
  auto exception = exceptions.begin();
  const std::uint64_t from = decided_;
  for (; decided_ < decided; ++decided_) {
    auto outcome = outcome_of(decided_);
    if (exception != exceptions.end() && exception->index == decided_) {
      if (exception->action == storage::Action::refuse) outcome = EntryOutcome::refused;
      if (exception->action == storage::Action::skip || exception->action == storage::Action::meta_only)
        outcome = EntryOutcome::skipped;
      ++exception;
    }
    auto& listed = listed_[decided_ - from];
    if (listed.type == storage::FileType::directory) continue;
    if (wanted_ == EntryNewsWanted::decisions || outcome == EntryOutcome::skipped) {
      tell(listed, outcome);
    } else if (listed.type == storage::FileType::symlink && outcome != EntryOutcome::refused) {
      links_.push_back(std::move(listed));
    }
  }
  listed_.erase(listed_.begin(), listed_.begin() + static_cast<std::ptrdiff_t>(decided_ - from));
}

void EntryNews::on_file_finished(const storage::FileReport& report) {
  host_.on_entry(report, storage::FileType::regular, outcome_of(report.index));
  replaces_.erase(report.index);
}

void EntryNews::on_committed(const std::set<std::uint64_t>& left_out) {
  for (const auto& link : links_)
    if (!left_out.contains(link.report.index)) tell(link, outcome_of(link.report.index));
  links_.clear();
}

}  // namespace penstock::control
