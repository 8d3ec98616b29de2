#include "common/path/beneath.h"

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/printers.h"
#include "tests/temp_dir.h"

namespace penstock::path {
namespace {

SafePath relative(std::string_view text) {
  auto path = SafePath::parse_relative(text);
  REQUIRE(path.ok());
  return std::move(*path);
}

Component component(std::string_view name) {
  auto parsed = Component::parse(name);
  REQUIRE(parsed.ok());
  return std::move(*parsed);
}

/// A root to resolve in, beside something outside of it that must stay out of reach.
struct Playground {
  tests::TempDir dir;
  UniqueFd root;

  Playground() {
    std::filesystem::create_directories(dir.path() + "/outside/secret");
    std::filesystem::create_directories(dir.path() + "/root/a/b/c");
    std::filesystem::create_directory_symlink("../outside", in_root("escape"));
    std::filesystem::create_directory_symlink(dir.path() + "/outside", in_root("absolute"));
    std::filesystem::create_directory_symlink("b", in_root("a/sideways"));
    std::filesystem::create_directory_symlink("loop", in_root("loop"));
    dir.write("root/file", "content");
    auto opened = open_trusted_directory(dir.path() + "/root");
    REQUIRE(opened.ok());
    root = std::move(*opened);
  }
  [[nodiscard]] std::string in_root(const std::string& name) const { return dir.path() + "/root/" + name; }
  [[nodiscard]] int fd() const { return root.get(); }
};

// On a kernel without openat2 the forced resolver can not be tested; automatic is, then by walking.
std::vector<Resolver> resolvers(int root_fd) {
  std::vector<Resolver> usable{Resolver::automatic, Resolver::walk};
  if (open_directory_beneath(root_fd, relative("a"), DirectoryAccess::search, Resolver::openat2).ok())
    usable.push_back(Resolver::openat2);
  return usable;
}

TEST_CASE("beneath: directories open at any depth, by every resolver and access") {
  const Playground play;
  for (const Resolver resolver : resolvers(play.fd()))
    for (const DirectoryAccess access : {DirectoryAccess::search, DirectoryAccess::read})
      for (const auto* path : {"", "a", "a/b", "a/b/c"}) {
        CAPTURE(path);
        const auto opened = open_directory_beneath(play.fd(), relative(path), access, resolver);
        REQUIRE(opened.ok());
        const UniqueFd expected{::open(play.in_root(path).c_str(), O_RDONLY | O_DIRECTORY)};
        CHECK(same_file(opened->get(), expected.get()));
        CHECK((::fcntl(opened->get(), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK((::fsync(opened->get()) == 0) == (access == DirectoryAccess::read));
      }
}

TEST_CASE("beneath: no link is followed, wherever it stands and wherever it points, by every resolver") {
  const Playground play;
  for (const Resolver resolver : resolvers(play.fd()))
    for (const DirectoryAccess access : {DirectoryAccess::search, DirectoryAccess::read})
      for (const auto* path :
           {"escape", "escape/secret", "absolute", "absolute/secret", "a/sideways", "a/sideways/c", "loop", "loop/x"}) {
        CAPTURE(path);
        const auto refused = open_directory_beneath(play.fd(), relative(path), access, resolver);
        REQUIRE_FALSE(refused.ok());
        CHECK(refused.error().code == ErrorCode::PATH_REFUSED);
        CHECK(refused.error().path == path);
      }
}

TEST_CASE("beneath: missing names and files on the way have their own errors, by every resolver") {
  const Playground play;
  for (const Resolver resolver : resolvers(play.fd())) {
    const auto code = [&](std::string_view path) {
      return open_directory_beneath(play.fd(), relative(path), DirectoryAccess::search, resolver).error().code;
    };
    CHECK(code("missing") == ErrorCode::NOT_FOUND);
    CHECK(code("a/missing/c") == ErrorCode::NOT_FOUND);
    CHECK(code("file") == ErrorCode::NOT_A_DIRECTORY);
    CHECK(code("file/x") == ErrorCode::NOT_A_DIRECTORY);
  }
}

TEST_CASE("beneath: depth 200 with names of 255 bytes, far beyond PATH_MAX, is made and opened by every resolver") {
  const Playground play;
  std::string text;
  for (int depth = 0; depth < 200; ++depth)
    text += (depth == 0 ? "" : "/") + std::string(255, static_cast<char>('a' + depth % 26));
  REQUIRE(text.size() > PATH_MAX * 10);
  const SafePath deep = relative(text);
  CHECK(deep.depth() == 200);
  const auto made = make_directories_beneath(play.fd(), deep, 0755, DirectoryAccess::read);
  REQUIRE(made.ok());
  for (const Resolver resolver : resolvers(play.fd())) {
    const auto opened = open_directory_beneath(play.fd(), deep, DirectoryAccess::read, resolver);
    REQUIRE(opened.ok());
    CHECK(same_file(opened->get(), made->get()));
  }
}

TEST_CASE("beneath: paths just below, at and above PATH_MAX open by every resolver") {
  const Playground play;
  // 15 names of 255 bytes and their slashes are 3840 bytes; the last name brings the whole to the wanted size.
  std::string base;
  for (int i = 0; i < 15; ++i) base += std::string(255, 'n') + '/';
  for (std::size_t size = PATH_MAX - 2; size <= PATH_MAX + 2; ++size) {
    CAPTURE(size);
    std::string rest(size - base.size(), 'm');
    if (rest.size() > component_size_max) rest[200] = '/';
    const SafePath path = relative(base + rest);
    REQUIRE(path.text().size() == size);
    const auto made = make_directories_beneath(play.fd(), path, 0755, DirectoryAccess::search);
    REQUIRE(made.ok());
    for (const Resolver resolver : resolvers(play.fd())) {
      const auto opened = open_directory_beneath(play.fd(), path, DirectoryAccess::search, resolver);
      REQUIRE(opened.ok());
      CHECK(same_file(opened->get(), made->get()));
    }
  }
}

struct Recorder : DirectoryCreationObserver {
  std::vector<std::string> created;
  void on_directory_created(const SafePath& path, int parent_fd) override {
    CHECK(::fcntl(parent_fd, F_GETFD) >= 0);
    created.push_back(path.text());
  }
};

TEST_CASE("make directories: creates what is missing, reports that alone, and keeps what is there") {
  const Playground play;
  Recorder recorder;
  REQUIRE(make_directories_beneath(play.fd(), relative("a/b/new/er"), 0700, DirectoryAccess::search, &recorder).ok());
  CHECK(recorder.created == std::vector<std::string>{"a/b/new", "a/b/new/er"});
  recorder.created.clear();
  REQUIRE(make_directories_beneath(play.fd(), relative("a/b/new/er"), 0700, DirectoryAccess::search, &recorder).ok());
  CHECK(recorder.created.empty());
}

TEST_CASE("make directories: through a link or over a file nothing is made") {
  const Playground play;
  for (const Resolver resolver : resolvers(play.fd())) {
    const auto code = [&](std::string_view path) {
      return make_directories_beneath(play.fd(), relative(path), 0755, DirectoryAccess::search, nullptr, resolver)
          .error()
          .code;
    };
    CHECK(code("escape/new") == ErrorCode::PATH_REFUSED);
    CHECK(code("absolute/new/er") == ErrorCode::PATH_REFUSED);
    CHECK(code("file/new") == ErrorCode::NOT_A_DIRECTORY);
  }
  CHECK_FALSE(std::filesystem::exists(play.dir.path() + "/outside/new"));
}

TEST_CASE("at-calls: open follows no link and says what stands there") {
  const Playground play;
  std::filesystem::create_symlink("file", play.in_root("link"));
  REQUIRE(open_at(play.fd(), component("file"), O_RDONLY).ok());
  CHECK(open_at(play.fd(), component("link"), O_RDONLY).error().code == ErrorCode::PATH_REFUSED);
  CHECK(open_at(play.fd(), component("none"), O_RDONLY).error().code == ErrorCode::NOT_FOUND);
  CHECK(open_at(play.fd(), component("file"), O_WRONLY | O_CREAT | O_EXCL, 0600).error().code ==
        ErrorCode::FILE_EXISTS);
  // With O_CREAT alone a dangling link would make the file it points to.
  std::filesystem::create_symlink("../outside/made", play.in_root("dangling"));
  CHECK_FALSE(open_at(play.fd(), component("dangling"), O_WRONLY | O_CREAT, 0600).ok());
  CHECK_FALSE(std::filesystem::exists(play.dir.path() + "/outside/made"));
}

TEST_CASE("at-calls: a source is a regular file, and pipes, sockets and devices neither open nor block") {
  const Playground play;
  REQUIRE(::mkfifo(play.in_root("fifo").c_str(), 0600) == 0);
  std::filesystem::create_symlink("file", play.in_root("link"));
  const UniqueFd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string socket_path = play.in_root("socket");
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);

  const auto opened = open_source_at(play.fd(), component("file"));
  REQUIRE(opened.ok());
  char content[16];
  CHECK(::read(opened->get(), content, sizeof content) == 7);
  CHECK(open_source_at(play.fd(), component("fifo")).error().code == ErrorCode::SPECIAL_FILE);
  CHECK(open_source_at(play.fd(), component("socket")).error().code == ErrorCode::SPECIAL_FILE);
  CHECK(open_source_at(play.fd(), component("a")).error().code == ErrorCode::IS_A_DIRECTORY);
  CHECK(open_source_at(play.fd(), component("link")).error().code == ErrorCode::PATH_REFUSED);
  CHECK(open_source_at(play.fd(), component("none")).error().code == ErrorCode::NOT_FOUND);
}

TEST_CASE("at-calls: links are data, byte for byte, up to the longest the kernel takes") {
  const Playground play;
  for (const std::string& target :
       {std::string{"../../../etc/passwd"}, std::string{"/"}, std::string{"\xff\n "}, std::string(PATH_MAX - 1, 't')}) {
    REQUIRE(symlink_at(target, play.fd(), component("data")).ok());
    CHECK(read_link_at(play.fd(), component("data")).value() == target);
    CHECK(S_ISLNK(stat_at(play.fd(), component("data")).value().st_mode));
    CHECK(symlink_at("x", play.fd(), component("data")).error().code == ErrorCode::FILE_EXISTS);
    REQUIRE(unlink_at(play.fd(), component("data")).ok());
  }
  CHECK_FALSE(symlink_at("", play.fd(), component("data")).ok());
  CHECK_FALSE(symlink_at(std::string("a\0b", 3), play.fd(), component("data")).ok());
  CHECK_FALSE(read_link_at(play.fd(), component("file")).ok());
}

TEST_CASE("at-calls: directories are made once and removed only when empty") {
  const Playground play;
  CHECK(make_directory_at(play.fd(), component("d"), 0755).ok());
  CHECK(make_directory_at(play.fd(), component("d"), 0755).error().code == ErrorCode::FILE_EXISTS);
  CHECK(remove_directory_at(play.fd(), component("d")).ok());
  const Status full = remove_directory_at(play.fd(), component("a"));
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().code == ErrorCode::IO_ERROR);
  CHECK(remove_directory_at(play.fd(), component("file")).error().code == ErrorCode::NOT_A_DIRECTORY);
  CHECK(unlink_at(play.fd(), component("none")).error().code == ErrorCode::NOT_FOUND);
}

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST_CASE("rename: without permission to replace an existing target stays, whatever it is, on any file system") {
  const auto kernel_way = [](Place from, Place to) { return rename_at(from, to, Replace::no); };
  const auto link_way = [](Place from, Place to) { return rename_by_link_at(from, to); };
  const auto check = [](auto rename) {
    const Playground play;
    play.dir.write("root/new", "new");
    std::filesystem::create_symlink("nowhere", play.in_root("dangling"));
    const Component source = component("new");
    for (const auto* name : {"file", "dangling", "a"}) {
      const Component target = component(name);
      const Status refused = rename({play.fd(), source}, {play.fd(), target});
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.error().code == ErrorCode::FILE_EXISTS);
    }
    CHECK(content_of(play.in_root("file")) == "content");
    const Component fresh = component("fresh");
    REQUIRE(rename({play.fd(), source}, {play.fd(), fresh}).ok());
    CHECK(content_of(play.in_root("fresh")) == "new");
    CHECK_FALSE(std::filesystem::exists(play.in_root("new")));
  };
  check(kernel_way);
  check(link_way);
}

TEST_CASE("rename: with permission a file is replaced, and a link is replaced rather than followed") {
  const Playground play;
  play.dir.write("outside/victim", "victim");
  std::filesystem::create_symlink("../outside/victim", play.in_root("link"));
  for (const auto* name : {"file", "link"}) {
    play.dir.write("root/new", "new");
    const Component source = component("new");
    const Component target = component(name);
    REQUIRE(rename_at({play.fd(), source}, {play.fd(), target}, Replace::yes).ok());
    CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(play.in_root(name))));
    CHECK(content_of(play.in_root(name)) == "new");
  }
  CHECK(content_of(play.dir.path() + "/outside/victim") == "victim");
}

TEST_CASE("unique fd: closes once, and a move leaves nothing behind") {
  int raw = -1;
  {
    UniqueFd a{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    raw = a.get();
    UniqueFd b{std::move(a)};
    CHECK_FALSE(static_cast<bool>(a));  // NOLINT: the promise
    CHECK(b.get() == raw);
    a = std::move(b);
    CHECK(a.get() == raw);
    CHECK(::fcntl(raw, F_GETFD) >= 0);
  }
  CHECK(::fcntl(raw, F_GETFD) < 0);
  UniqueFd released{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const int kept = released.release();
  released.reset();
  CHECK(::fcntl(kept, F_GETFD) >= 0);
  ::close(kept);
}

}  // namespace
}  // namespace penstock::path
