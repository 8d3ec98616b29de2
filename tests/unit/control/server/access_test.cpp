#include "control/server/access.h"

#include <doctest/doctest.h>

using namespace penstock;
using namespace penstock::control;

namespace {

std::vector<Grant> grants(std::initializer_list<std::string_view> texts) {
  std::vector<Grant> made;
  for (const auto text : texts) made.push_back(parse_grant(text).value());
  return made;
}
ErrorCode refusal(std::span<const Grant> held, std::string_view path, Operation operation, Extent extent) {
  const auto allowed = allowed_path(held, path, operation, extent);
  REQUIRE_FALSE(allowed);
  return allowed.error().code;
}

}  // namespace

TEST_CASE("access: a path inside the grant is given as storage takes it") {
  const auto held = grants({"rw:/projects"});
  const auto path = allowed_path(held, "//projects///a/", Operation::create, Extent::tree);
  REQUIRE(path);
  CHECK(path->text() == "projects/a");
}

TEST_CASE("access: outside the grants nothing is allowed, and the path is named") {
  const auto held = grants({"rw:/projects"});
  CHECK(refusal(held, "/", Operation::list, Extent::itself) == ErrorCode::PERMISSION_DENIED);
  CHECK(refusal(held, "/projectsx", Operation::read, Extent::itself) == ErrorCode::PERMISSION_DENIED);
  const auto denied = allowed_path(held, "/secret/x", Operation::read, Extent::itself);
  CHECK(denied.error().path == "/secret/x");
}

TEST_CASE("access: a narrower grant that takes away refuses the whole tree, and its sibling is untouched") {
  const auto held = grants({"rw:/", "r:/archive"});
  CHECK(refusal(held, "/", Operation::modify, Extent::tree) == ErrorCode::PERMISSION_DENIED);
  CHECK(refusal(held, "/archive/x", Operation::create, Extent::tree) == ErrorCode::PERMISSION_DENIED);
  CHECK(allowed_path(held, "/", Operation::read, Extent::tree));
  CHECK(allowed_path(held, "/other", Operation::modify, Extent::tree));
  CHECK(allowed_path(held, "/", Operation::modify, Extent::itself));
}

TEST_CASE("access: a drop box takes, and gives nothing back") {
  const auto held = grants({"w:/drop"});
  CHECK(allowed_path(held, "/drop/x", Operation::create, Extent::tree));
  for (const auto operation : {Operation::read, Operation::list, Operation::modify})
    CHECK(refusal(held, "/drop/x", operation, Extent::itself) == ErrorCode::PERMISSION_DENIED);
}

TEST_CASE("access: what is no path is refused before any grant is asked") {
  const auto held = grants({"rw:/"});
  CHECK(refusal(held, "relative", Operation::read, Extent::itself) == ErrorCode::PATH_REFUSED);
  CHECK(refusal(held, "/a/../b", Operation::read, Extent::itself) == ErrorCode::PATH_REFUSED);
  CHECK(refusal(held, std::string_view{"/a\0b", 4}, Operation::read, Extent::itself) == ErrorCode::PATH_REFUSED);
  CHECK(refusal(held, "/" + std::string(256, 'n'), Operation::read, Extent::itself) == ErrorCode::NAME_TOO_LONG);
}
