#include "tools/cli/remote.h"

#include <doctest/doctest.h>

#include <string>

namespace penstock::tools {
namespace {

RemoteWords remote(std::string host, std::optional<std::uint16_t> port, std::string path, std::string name = {}) {
  return {.host = {.name = std::move(name), .host = std::move(host), .port = port}, .path = std::move(path)};
}

TEST_CASE("remote: both forms of an address are read") {
  const std::pair<std::string_view, RemoteWords> cases[] = {
      {"host:/path", remote("host", {}, "/path")},
      {"host:/", remote("host", {}, "/")},
      {"host:7441:/path", remote("host", 7441, "/path")},
      {"ann@host:/path", remote("host", {}, "/path", "ann")},
      {"ann@host:1:/p", remote("host", 1, "/p", "ann")},
      {"a.b-c_d.example.org:/p", remote("a.b-c_d.example.org", {}, "/p")},
      {"192.0.2.7:/p", remote("192.0.2.7", {}, "/p")},
      {"192.0.2.7:65535:/p", remote("192.0.2.7", 65535, "/p")},
      {"[2001:db8::7]:/p", remote("2001:db8::7", {}, "/p")},
      {"[2001:db8::7]:7441:/p", remote("2001:db8::7", 7441, "/p")},
      {"[fe80::1%eth0]:/p", remote("fe80::1%eth0", {}, "/p")},
      {"ann@[::1]:/p", remote("::1", {}, "/p", "ann")},
      {"host:/with space", remote("host", {}, "/with space")},
      {"host:/a:b@c:/d", remote("host", {}, "/a:b@c:/d")},
      {"host:/per%20cent", remote("host", {}, "/per%20cent")},
      {"host:/new\nline", remote("host", {}, "/new\nline")},
      {"host:/\xff\xfe", remote("host", {}, "/\xff\xfe")},
      {"host:/-rf", remote("host", {}, "/-rf")},
      {"host://double", remote("host", {}, "//double")},
      {"host:/dir/", remote("host", {}, "/dir/")},
      {"penstock://host/path", remote("host", {}, "/path")},
      {"penstock://host/", remote("host", {}, "/")},
      {"penstock://host:7441/a%20b", remote("host", 7441, "/a b")},
      {"penstock://host/%E2%82%AC%ff", remote("host", {}, "/\xe2\x82\xac\xff")},
      {"penstock://host/a%25b", remote("host", {}, "/a%b")},
      {"penstock://host/a%3Fb%23", remote("host", {}, "/a?b#")},
      {"penstock://[2001:db8::7]:1/p", remote("2001:db8::7", 1, "/p")},
      {"penstock://[fe80::1%25eth0]/p", remote("fe80::1%eth0", {}, "/p")},
      {"penstock://host/a:b@c", remote("host", {}, "/a:b@c")},
  };
  for (const auto& each : cases) {
    const auto& text = each.first;
    const auto& expected = each.second;
    INFO(std::string{text});
    const auto got = parse_remote(text);
    REQUIRE(got);
    CHECK(got->host.name == expected.host.name);
    CHECK(got->host.host == expected.host.host);
    CHECK(got->host.port == expected.host.port);
    CHECK(got->path == expected.path);
  }
}

TEST_CASE("remote: a path without its slash is refused, and the message shows the address with it") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"host:path", "host:/path"},
      {"host:7441:path", "host:7441:/path"},
      {"host:", "host:/PATH"},
      {"host:7441", "host:7441:/PATH"},
      {"host", "host:/PATH"},
      {"host::module/x", "host:/module/x"},
      {"ann@host:in/x", "ann@host:/in/x"},
      {"[::1]:path", "[::1]:/path"},
      {"[::1]", "[::1]:/PATH"},
      {"host/path", "host:/PATH"},
      {"host:~/x", "host:/~/x"},
      {"host:7441x", "host:/7441x"},
      {"::1:/p", "[::1]:/p"},
      {"2001:db8::7:/p", "[2001:db8::7]:/p"},
      {"host:7441:", "host:7441:/PATH"},
      {"host::/in/x", "host:/in/x"},
  };
  for (const auto& each : cases) {
    const auto& text = each.first;
    const auto& suggestion = each.second;
    INFO(std::string{text});
    const auto got = parse_remote(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == ErrorCode::USAGE);
    CHECK_MESSAGE(got.error().message.find("write " + std::string{suggestion}) != std::string::npos,
                  got.error().message);
  }
}

TEST_CASE("remote: hostile and broken addresses are refused") {
  const std::string_view cases[] = {
      "",
      ":",
      ":/path",
      "/path",
      "@host:/p",
      "an n@host:/p",
      "ho st:/p",
      "-host:/p",
      "-oProxyCommand:/p",
      ".host:/p",
      "host:0:/p",
      "host:65536:/p",
      "host:99999999999999999999:/p",
      "[]:/p",
      "[host]:/p",
      "[::1:/p",
      "[::g]:/p",
      "[::1%]:/p",
      "[fe80::1%eth/0]:/p",
      "[::1]x:/p",
      "[192.0.2.7]:/p",
      "h\xc3\xb6st:/p",
      "ho\nst:/p",
      "ho\033[2Jst:/p",
      "a@b@host:/p",
      "-x@host:/p",
      std::string_view{"host:/a\0b", 8},
      std::string_view{"ho\0st:/p", 8},
      "penstock://",
      "penstock:///path",
      "penstock://host",
      "penstock://host:x/p",
      "penstock://host:0/p",
      "penstock://host:/p:q",
      "penstock://ann@host/p",
      "penstock://host/%",
      "penstock://host/%4",
      "penstock://host/%zz",
      "penstock://host/a%00b",
      "penstock://host/a%2Fb",
      "penstock://host/a%2fb",
      "penstock://host/p?q",
      "penstock://host/p#f",
      "penstock://ho%73t/p",
      "penstock://host:/p",
      "penstock://[::1%eth0]x/p",
  };
  for (const auto text : cases) {
    INFO(std::string{text});
    const auto got = parse_remote(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == ErrorCode::USAGE);
    for (const char c : got.error().message)
      CHECK_MESSAGE((c >= ' ' || (c & 0x80) != 0), "a control character got through");
  }
  CHECK_FALSE(parse_remote(std::string(300, 'h') + ":/p"));
}

TEST_CASE("remote: a host word has no path") {
  CHECK(parse_host("host")->host == "host");
  CHECK_FALSE(parse_host("host")->port);
  CHECK(*parse_host("host:7441")->port == 7441);
  CHECK(parse_host("[::1]:1")->host == "::1");
  CHECK(parse_host("ann@host")->name == "ann");
  for (const std::string_view text :
       {"", "host:/p", "host:", "host:0", "host:x", "::1", "host/p", "host:1:2", "penstock://host"}) {
    INFO(std::string{text});
    CHECK_FALSE(parse_host(text));
  }
}

TEST_CASE("remote: listen addresses are numeric and may have port 0") {
  CHECK(parse_listen("[::]:7440")->address == "::");
  CHECK(parse_listen("[::]:7440")->port == 7440);
  CHECK(parse_listen("127.0.0.1:0")->port == 0);
  CHECK(parse_listen("[fe80::1%eth0]:1")->address == "fe80::1%eth0");
  for (const std::string_view text :
       {"", ":7440", "7440", "127.0.0.1", "::1:7440", "localhost:1", "[::]", "[::]:", "[::]:x", "127.0.0.1:65536",
        "300.0.0.1:1", "[127.0.0.1]:1", "127.0.0.1:-1", "*:7440"}) {
    INFO(std::string{text});
    CHECK_FALSE(parse_listen(text));
  }
}

TEST_CASE("remote: a host is shown as it is written") {
  for (const std::string_view text : {"host", "host:7441", "[::1]", "[::1]:5", "ann@host:1", "[fe80::1%eth0]:2"})
    CHECK(show_host(*parse_host(text)) == text);
}

}  // namespace
}  // namespace penstock::tools
