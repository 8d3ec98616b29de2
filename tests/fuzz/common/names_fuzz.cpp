#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/digest/digest.h"
#include "common/escape.h"
#include "common/path/safe_path.h"
#include "common/utf8.h"

// Names and paths as peers send them: shown safely, and checked into paths that stay beneath their root.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  const auto raw = bytes::as_text(std::as_bytes(std::span{data, size}));

  const std::string shown = escape_for_display(raw);
  PENSTOCK_CHECK(is_valid_utf8(shown));
  for (const char c : shown) PENSTOCK_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  PENSTOCK_CHECK(escape_for_display(raw, 20).size() <= 23);

  const std::string replaced = utf8_with_replacements(raw);
  PENSTOCK_CHECK(is_valid_utf8(replaced) && (replaced == raw) == is_valid_utf8(raw));

  if (const auto path = path::SafePath::parse_relative(raw)) {
    PENSTOCK_CHECK(path->text() == raw);
    path::SafePath rebuilt;
    for (const auto part : path->components()) {
      PENSTOCK_CHECK(!path::check_name(part));
      rebuilt = rebuilt.child(*path::Component::parse(part));
    }
    PENSTOCK_CHECK(rebuilt == *path);
    PENSTOCK_CHECK(path::SafePath::parse_absolute(path->absolute_text())->text() == raw);
  }
  if (const auto path = path::SafePath::parse_absolute(raw))
    PENSTOCK_CHECK(path::SafePath::parse_relative(path->text()).ok());
  if (const auto digest = digest::Digest::parse(raw))
    PENSTOCK_CHECK(digest::Digest::parse(digest->to_string()) == digest);
  return 0;
}
