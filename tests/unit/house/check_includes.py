#!/usr/bin/env python3
"""Reads the sources and fails where the house's rules on includes are broken (STYLE section 1).

Includes point one way: common <- dataplane <- control <- tools; inside dataplane engine <- io and engine <- storage,
which do not include each other; netem uses common alone. The engine meets no clock, socket, thread, file or Asio, and
reads nothing that differs from run to run. An include is the full path from the root, and names a file that is there;
a .cpp includes its own header first. The top-level folders are exactly the rooms. Protobuf is parsed in one file, which
has silenced the library.

Usage: check_includes.py ROOT            prints `FILE:LINE: what is wrong` and exits 1 if anything is
       check_includes.py --self-test     plants each kind of violation and exits 1 unless all of them are found
"""

import pathlib
import re
import sys
import tempfile

ROOMS = {"common", "control", "dataplane", "tools", "netem", "tests", "configs"}

# Longest prefix wins. What a folder may include besides itself.
MAY_INCLUDE = {
    "common/": set(),
    "dataplane/engine/": {"common/"},
    "dataplane/io/": {"common/", "dataplane/engine/"},
    "dataplane/storage/": {"common/", "dataplane/engine/"},
    "control/": {"common/", "dataplane/"},
    "netem/": {"common/"},
    "tools/": {"common/", "dataplane/", "control/", "netem/"},
    "tests/": {"common/", "dataplane/", "control/", "netem/", "tools/"},
}

# The engine, and whatever else promises to be pure, may use these headers of the standard library and no others: a list
# of what is allowed can not be outwitted by a header that nobody thought of.
PURE_FOLDERS = ("dataplane/engine/",)
PURE_HEADERS = set("""
    algorithm array bit bitset cassert charconv chrono climits compare concepts cstddef cstdint cstring deque functional
    initializer_list iterator limits list map memory numeric optional queue ranges set span stack string string_view
    tuple type_traits unordered_map unordered_set utility variant vector version fmt/core.h fmt/format.h
""".split())
IMPURE_WORDS = [
    (re.compile(r"\b(?:steady|system|high_resolution|utc|file)_clock\b"), "a real clock"),
    (re.compile(r"\b(?:clock_gettime|gettimeofday|time)\s*\(\s*(?:NULL|nullptr|0|&|CLOCK)"), "a real clock"),
    (re.compile(r"\bstd::(?:jthread|thread|mutex|shared_mutex|condition_variable|future|async|atomic)\b"), "a thread"),
    (re.compile(r"\bthread_local\b"), "a thread"),
    (re.compile(r"\bpthread_\w+"), "a thread"),
    (re.compile(r"\b(?:asio|boost)::"), "Asio"),
    (re.compile(r"(?<![\w>])::(?:open|openat|read|write|pread|pwrite|socket|sendmsg|sendmmsg|recvmsg|recvmmsg)\s*\("),
     "a file or socket"),
    (re.compile(r"\bstd::(?:[io]?fstream|filesystem|fopen|cout|cerr|clog|printf|fprintf)\b"), "a file"),
    (re.compile(r"\b(?:random_device|getrandom|arc4random|rand)\s*\("), "randomness that no seed replays"),
    (re.compile(r"\bgetenv\s*\("), "the environment"),
]
# Ours, but with a descriptor or the kernel's randomness in them.
IMPURE_OWN_HEADERS = {"common/unique_fd.h", "common/path/beneath.h", "common/crypto/random.h"}

# Protobuf prints what it does not like on stderr unless it is told not to: who parses has to go by the one file that does.
PARSES = re.compile(r"\b(?:ParseFrom|ParsePartialFrom|MergeFromCoded|MergePartialFrom|MergeFromString|SetLogHandler)\w*")
PARSING_ROOMS = ("control/", "tools/")
PARSER = "control/gate/envelope.cpp"

INCLUDE = re.compile(r'^\s*#\s*include\s*(<([^>]+)>|"([^"]+)")')
SOURCE_SUFFIXES = {".h", ".cpp", ".cc", ".hpp"}


def folder_rule(path, table):
    """The longest prefix of `table` that `path` begins with, or None."""
    return max((prefix for prefix in table if path.startswith(prefix)), key=len, default=None)


def without_comments_and_strings(text):
    """Blanks them out, line numbers kept: a comment may speak of a socket."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
    return token.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def check_file(root, path, text):
    problems = []

    def problem(line, what):
        problems.append(f"{path}:{line}: {what}")

    rule = folder_rule(path, MAY_INCLUDE)
    pure = path.startswith(PURE_FOLDERS)
    own_header = path[: -len(".cpp")] + ".h" if path.endswith(".cpp") else None
    first_include = True
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        system, own = match.group(2), match.group(3)
        if own_header and first_include and (root / own_header).is_file() and own != own_header:
            problem(number, f"the first include is not the file's own header {own_header}")
        first_include = False
        if system is not None:
            if any(system.startswith(room + "/") for room in ROOMS):
                problem(number, f"<{system}> is ours: include it in quotes")
            if pure and system not in PURE_HEADERS:
                problem(number, f"<{system}> has no place in the engine, which does no I/O")
            continue
        if own.startswith("."):
            problem(number, f'"{own}" is not the full path from the root')
            continue
        target = folder_rule(own, MAY_INCLUDE)
        if target is None:
            problem(number, f'"{own}" is not the full path from the root')
            continue
        if not own.endswith(".pb.h") and not (root / own).is_file():
            problem(number, f'"{own}" does not exist')
        if rule is not None and target != rule and not any(own.startswith(ok) for ok in MAY_INCLUDE[rule]):
            problem(number, f'{rule} may not include "{own}"')
        if pure and own in IMPURE_OWN_HEADERS:
            problem(number, f'"{own}" has no place in the engine, which does no I/O')
    if pure:
        for number, line in enumerate(without_comments_and_strings(text).splitlines(), 1):
            for pattern, what in IMPURE_WORDS:
                if pattern.search(line):
                    problem(number, f"the engine meets {what}: {line.strip()}")
    if path.startswith(PARSING_ROOMS) and path != PARSER:
        for number, line in enumerate(without_comments_and_strings(text).splitlines(), 1):
            if PARSES.search(line):
                problem(number, f"protobuf is parsed in {PARSER} alone: {line.strip()}")
    return problems


def check_tree(root):
    problems = []
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "build" and entry.name not in ROOMS:
            problems.append(f"{entry.name}/: there is no such room; the top-level folders are {', '.join(sorted(ROOMS))}")
    files = 0
    for room in sorted(ROOMS):
        for file in sorted((root / room).rglob("*")):
            if file.suffix not in SOURCE_SUFFIXES or not file.is_file():
                continue
            path = file.relative_to(root).as_posix()
            if folder_rule(path, MAY_INCLUDE) is None:
                problems.append(f"{path}:1: sources have no place here; dataplane has engine, io and storage")
            problems += check_file(root, path, file.read_text(encoding="utf-8"))
            files += 1
    if files == 0:
        problems.append(f"{root}: no sources found: the check looks in the wrong place")
    return problems


def self_test():
    header = "#pragma once\n"
    good = {
        "common/words.h": header,
        "common/unique_fd.h": header,
        "common/crypto/random.h": header,
        "dataplane/engine/part.h": header + '#include <chrono>\n#include "common/words.h"\n// asks no steady_clock\n',
        "dataplane/engine/part.cpp": '#include "dataplane/engine/part.h"\n#include <vector>\nconst char* s = "std::thread";\n',
        "dataplane/io/driver.h": header + '#include <sys/socket.h>\n#include "dataplane/engine/part.h"\n',
        "dataplane/storage/sink.h": header + '#include "dataplane/engine/part.h"\n#include "common/unique_fd.h"\n',
        "control/server.h": header + '#include "dataplane/io/driver.h"\n#include "control/proto/gate.pb.h"\n',
        "control/gate/envelope.cpp": "void f() { envelope.ParseFromArray(p, 1); }\n",
        "netem/link.h": header + '#include "common/words.h"\n',
        "tools/main.cpp": '#include "control/server.h"\n',
    }
    # file, text, what must be said about it
    bad = [
        ("common/up.h", '#include "dataplane/engine/part.h"\n', "common/ may not include"),
        ("common/up2.h", '#include "tools/main.h"\n', "may not include"),
        ("dataplane/engine/up.h", '#include "dataplane/io/driver.h"\n', "dataplane/engine/ may not include"),
        ("dataplane/engine/up2.h", '#include "dataplane/storage/sink.h"\n', "dataplane/engine/ may not include"),
        ("dataplane/engine/up3.h", '#include "control/server.h"\n', "dataplane/engine/ may not include"),
        ("dataplane/io/side.h", '#include "dataplane/storage/sink.h"\n', "dataplane/io/ may not include"),
        ("dataplane/storage/side.h", '#include "dataplane/io/driver.h"\n', "dataplane/storage/ may not include"),
        ("dataplane/up.h", '#include "common/words.h"\n', "sources have no place here"),
        ("control/up.h", '#include "tools/x.h"\n', "control/ may not include"),
        ("netem/up.h", '#include "dataplane/engine/part.h"\n', "netem/ may not include"),
        ("tools/gone.cpp", '#include "common/gone.h"\n', "does not exist"),
        ("tools/short.cpp", '#include "words.h"\n', "full path"),
        ("tools/dots.cpp", '#include "../common/words.h"\n', "full path"),
        ("tools/angle.cpp", "#include <common/words.h>\n", "in quotes"),
        ("dataplane/engine/order.cpp", '#include <vector>\n#include "dataplane/engine/order.h"\n', "own header"),
        ("dataplane/engine/asio.cpp", "#include <asio.hpp>\n", "no place in the engine"),
        ("dataplane/engine/thread.cpp", "#include <thread>\n", "no place in the engine"),
        ("dataplane/engine/atomic.cpp", "#include <atomic>\n", "no place in the engine"),
        ("dataplane/engine/socket.cpp", "#include <sys/socket.h>\n", "no place in the engine"),
        ("dataplane/engine/file.cpp", "#  include <fstream>\n", "no place in the engine"),
        ("dataplane/engine/fd.cpp", '#include "common/unique_fd.h"\n', "no place in the engine"),
        ("dataplane/engine/kernel.cpp", '#include "common/crypto/random.h"\n', "no place in the engine"),
        ("dataplane/engine/clock.cpp", "auto t = std::chrono::steady_clock::now();\n", "a real clock"),
        ("dataplane/engine/clock2.cpp", "int f() { return clock_gettime(CLOCK_MONOTONIC, p); }\n", "a real clock"),
        ("dataplane/engine/lock.cpp", "std::mutex m;\n", "a thread"),
        ("dataplane/engine/pread.cpp", "auto n = ::pread(fd, b, 1, 0);\n", "a file or socket"),
        ("dataplane/engine/dice.cpp", "std::random_device d; auto n = std::random_device()();\n", "randomness"),
        ("control/loud.cpp", "void f() { envelope.ParseFromString(s); }\n", "protobuf is parsed in"),
        ("library/x.h", header, "no such room"),
    ]
    failures = 0

    def tree_problems(files):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return check_tree(root)

    for said in tree_problems(good):
        print(f"self-test: a good tree is refused: {said}")
        failures += 1
    for path, text, expected in bad:
        extra = {"dataplane/engine/order.h": header, path: text}
        found = tree_problems({**good, **extra})
        if not any(said.startswith(path.split("/")[0]) and expected in said for said in found):
            print(f"self-test: {path} was not refused for {expected!r}, but: {found}")
            failures += 1
    if not tree_problems({"common/readme.txt": ""}):
        print("self-test: an empty tree was accepted")
        failures += 1
    print(f"self-test: {len(bad) + 2} cases, {failures} failures")
    return failures == 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 0 if self_test() else 1
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    problems = check_tree(pathlib.Path(sys.argv[1]))
    for said in problems:
        print(said)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
