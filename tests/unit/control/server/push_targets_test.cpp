#include "control/server/push_targets.h"

#include <doctest/doctest.h>

using namespace penstock;
using namespace penstock::control;

namespace {

proto::OpenTransfer push(const std::string& name, const std::string& destination) {
  proto::OpenTransfer open;
  open.set_direction(proto::PUSH);
  open.set_destination(destination);
  open.set_overwrite(proto::NEVER);
  open.add_roots()->set_name(name);
  return open;
}
proto::OpenTransfer inside(const std::string& name, const std::string& destination) {
  auto open = push(name, destination);
  open.set_destination_is_container(true);
  return open;
}

}  // namespace

TEST_CASE("push targets: two sources pushed to one new name are after the same target, however it is written") {
  const auto older = push_targets(push("a", "/dir/x"), false);
  CHECK(push_targets(push("b", "/dir/x"), false).collide_with(older));
  CHECK(push_targets(push("b", "//dir//x"), false).collide_with(older));
  CHECK(push_targets(inside("x", "/dir"), true).collide_with(older));
  CHECK_FALSE(push_targets(push("a", "/dir/y"), false).collide_with(older));
  CHECK_FALSE(push_targets(push("a", "/dir"), true).collide_with(older));
}

TEST_CASE("push targets: files that land beside each other in a directory leave each other alone") {
  const auto older = push_targets(push("a", "/dir"), true);
  CHECK_FALSE(push_targets(push("b", "/dir"), true).collide_with(older));
  CHECK(push_targets(push("a", "/dir"), true).collide_with(older));
  const auto contained = push_targets(inside("a", "/dir"), true);
  CHECK_FALSE(push_targets(inside("b", "/dir"), true).collide_with(contained));
}

TEST_CASE("push targets: who may not replace anything does not end a push that has made the directory already") {
  const auto older = push_targets(push("a", "/dir"), false);
  auto newer = push("b", "/dir");
  CHECK_FALSE(push_targets(newer, true).collide_with(older));  // it is going to hear FILE_EXISTS
  newer.set_overwrite(proto::ALWAYS);
  CHECK(push_targets(newer, true).collide_with(older));
}

TEST_CASE("push targets: a pull, and words that make no sense, have none") {
  auto pull = push("a", "/x");
  pull.set_direction(proto::PULL);
  CHECK(push_targets(pull, false).makes.empty());
  CHECK(push_targets(push("a", "no/slash/.."), false).makes.empty());
  CHECK(push_targets(inside("..", "/x"), true).makes.empty());
}
