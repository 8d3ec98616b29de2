// Runs a fuzz target as a plain test: every file of the corpus, then inputs derived from them by a fixed seed. The same
// inputs on every machine, so that a failure replays; finding new paths is libFuzzer's work, not this one's.
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t mutations_total = 4000;
constexpr std::size_t input_size_max = 64 * 1024;

// splitmix64, here by itself: the harness depends on nothing that it tests.
class Random {
 public:
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }

 private:
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  std::uint64_t state_ = 7440;
};

// Where a crash happened, for the message of abort() and of the sanitizers: the input is written out on failure only.
std::string current_input;

void run(const Input& input, std::string name) {
  current_input = std::move(name);
  // An exact heap copy, so that address sanitizer sees a read of one byte too many.
  const Input exact(input.begin(), input.end());
  (void)LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void mutate(Input& input, const std::vector<Input>& corpus, Random& random) {
  static constexpr std::uint8_t telling[] = {0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xbf,
                                             0xc0, 0xfe, 0xff, '/',  '.',  '\n'};
  switch (random.below(7)) {
    case 0:  // flip a bit
      if (!input.empty()) input[random.below(input.size())] ^= static_cast<std::uint8_t>(1U << random.below(8));
      break;
    case 1:  // a telling byte
      if (!input.empty()) input[random.below(input.size())] = telling[random.below(std::size(telling))];
      break;
    case 2:  // cut the end off
      input.resize(random.below(input.size() + 1));
      break;
    case 3:  // drop a run
      if (!input.empty()) {
        const auto from = static_cast<std::ptrdiff_t>(random.below(input.size()));
        const auto count = static_cast<std::ptrdiff_t>(1 + random.below(8));
        input.erase(input.begin() + from, input.begin() + std::min(from + count, std::ssize(input)));
      }
      break;
    case 4:  // insert a byte
      input.insert(input.begin() + static_cast<std::ptrdiff_t>(random.below(input.size() + 1)),
                   static_cast<std::uint8_t>(random.below(256)));
      break;
    case 5: {  // repeat a run
      if (input.empty()) break;
      const std::size_t from = random.below(input.size());
      const std::size_t count = std::min(input.size() - from, 1 + random.below(16));
      const Input copy(input.begin() + static_cast<std::ptrdiff_t>(from),
                       input.begin() + static_cast<std::ptrdiff_t>(from + count));
      input.insert(input.end(), copy.begin(), copy.end());
      break;
    }
    default: {  // splice the tail of another
      const Input& other = corpus[random.below(corpus.size())];
      input.resize(random.below(input.size() + 1));
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(random.below(other.size() + 1)),
                   other.end());
    }
  }
  if (input.size() > input_size_max) input.resize(input_size_max);
}

void say_current_input() { std::fprintf(stderr, "fuzz replay: failed at %s\n", current_input.c_str()); }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS_DIR\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());  // readdir's order differs between machines
  if (files.empty()) {
    std::fprintf(stderr, "fuzz replay: no corpus in %s\n", argv[1]);
    return 1;
  }

  std::set_terminate([] {
    say_current_input();
    std::abort();
  });
  std::signal(SIGABRT, [](int) { say_current_input(); });

  std::vector<Input> corpus{Input{}};
  run(corpus.front(), "the empty input");
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    run(corpus.back(), file.string());
  }
  Random random;
  for (std::size_t i = 0; i < mutations_total; ++i) {
    Input input = corpus[random.below(corpus.size())];
    for (std::size_t n = 1 + random.below(4); n-- > 0;) mutate(input, corpus, random);
    run(input, "mutation " + std::to_string(i));
  }
  std::printf("%zu files and %zu mutations replayed\n", files.size(), mutations_total);
  return 0;
}
