#pragma once

namespace penstock {

/// Owns one file descriptor and closes it. Not copyable. Threads: one owner.
class UniqueFd {
 public:
  UniqueFd() = default;
  /// Takes ownership; negative means none.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  /// The descriptor, still owned here; -1 when there is none.
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// Hands ownership to the caller.
  [[nodiscard]] int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// Closes what is held, then takes `fd`. A close that fails is not reported: whoever needs the data durable has
  /// called fsync before.
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace penstock
