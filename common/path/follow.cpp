#include "common/path/follow.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "common/escape.h"
#include "common/path/beneath.h"
#include "common/unique_fd.h"

namespace penstock::path {
namespace {

/// One walk. `here_` never holds a link; what is still to come is a stack of names, the next at the back.
class Follower {
 public:
  Follower(int base_fd, SafePath start, const FollowBounds& bounds, std::string shown)
      : base_fd_(base_fd), here_(std::move(start)), bounds_(bounds), shown_(std::move(shown)) {}

  Result<SafePath> run(const SafePath& rest) {
    push(rest.text());
    while (!names_.empty()) {
      const std::string name = std::move(names_.back());
      names_.pop_back();
      if (auto stepped = step(name); !stepped) return told(std::move(stepped).error());
    }
    if (!covered(here_)) return leads_out(shown_);
    return std::move(here_);
  }

 private:
  void push(const std::string& text) {
    for (std::size_t end = text.size(); end > 0;) {
      const auto slash = text.rfind('/', end - 1);
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      if (begin < end) names_.push_back(text.substr(begin, end - begin));
      end = slash == std::string::npos ? 0 : slash;
    }
  }

  [[nodiscard]] bool covered(const SafePath& path) const { return !bounds_.covers || bounds_.covers(path); }

  /// About the whole that was asked for, whatever the step was that failed.
  [[nodiscard]] Error told(Error error) const {
    error.path = shown_;
    return error;
  }

  Status step(const std::string& name) {
    if (name == ".") return {};
    if (name == "..") {
      // A link-free path: its parent by words is its parent.
      if (!bounds_.scope.contains(here_) || here_ == bounds_.scope) return leads_out(shown_);
      here_ = here_.parent();
      directory_ = UniqueFd{};
      return {};
    }
    auto component = Component::parse(name);
    if (!component) return std::move(component).error();
    const SafePath next = here_.child(*component);
    if (!directory_) {
      auto opened = open_directory_beneath(base_fd_, here_, DirectoryAccess::search);
      if (!opened) return covered(next) ? std::move(opened).error() : leads_out(shown_);
      directory_ = std::move(*opened);
    }
    const auto status = stat_at(directory_.get(), *component);
    if (!status) return covered(next) ? refused(status.error()) : leads_out(shown_);
    if (S_ISLNK(status->st_mode)) return enter_link(*component, next);
    if (!names_.empty()) {
      auto opened = open_at(directory_.get(), *component, O_PATH | O_DIRECTORY);
      if (!opened) return covered(next) ? refused(opened.error()) : leads_out(shown_);
      directory_ = std::move(*opened);
    }
    here_ = next;
    return {};
  }

  Status enter_link(const Component& name, const SafePath& link) {
    if (!bounds_.scope.contains(here_) || !covered(link)) return leads_out(shown_);
    if (++links_ > links_followed_max) return error_from_errno(ELOOP, "follow", shown_);
    auto target = read_link_at(directory_.get(), name);
    if (!target) return refused(target.error());
    if (target->starts_with('/')) return leads_out(shown_);
    push(*target);
    return {};
  }

  /// Told by what was asked for: the step's own name is somewhere inside.
  [[nodiscard]] Error refused(const Error& error) const {
    if (links_ == 0) return told_of(error, shown_);
    const std::string own = " " + escape_for_display(error.path) + ": ";
    Error result = error;
    if (const auto at = error.message.find(own); at != std::string::npos)
      result.message = "cannot follow " + escape_for_display(shown_) + error.message.substr(at + own.size() - 2);
    return result;
  }

  int base_fd_;
  SafePath here_;
  const FollowBounds& bounds_;
  std::string shown_;
  UniqueFd directory_;  // here_, while it is open
  std::vector<std::string> names_;
  unsigned links_ = 0;
};

}  // namespace

Error leads_out(const std::string& path) {
  return Error{.code = ErrorCode::PATH_REFUSED,
               .message = escape_for_display(path) +
                          " is a link that leads out of what is granted; ask for what it leads to by its own path, if "
                          "that is granted too",
               .path = path};
}

Result<SafePath> follow_beneath(int base_fd, const SafePath& start, const SafePath& rest, const FollowBounds& bounds) {
  return Follower{base_fd, start, bounds, start.joined(rest).text()}.run(rest);
}

}  // namespace penstock::path
