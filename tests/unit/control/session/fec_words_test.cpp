#include "control/gate/fec_words.h"

#include <doctest/doctest.h>

#include <string>

#include "control/session/ratio_talk.h"

namespace penstock::control {
namespace {

using engine::Fec;
using engine::FecMode;

TEST_CASE("fec words: auto, off and every ratio of the code are read, and written again") {
  for (const auto* word : {"auto", "off", "1,1", "20,4", "128,128", "1,128"}) {
    CAPTURE(word);
    const auto fec = fec_named(word);
    REQUIRE(fec);
    CHECK(fec_name(*fec) == word);
  }
  CHECK(fec_named("20,4")->sources == 20);
  CHECK(fec_named("20,4")->repairs == 4);
}

TEST_CASE("fec words: nothing else is taken for one") {
  for (const std::string word : {"", "on", "20", "20,", ",4", "0,4", "20,0", "129,1", "1,129", "20,4,1", "-1,4",
                                 "20, 4", "+2,4", "2e1,4", "AUTO"}) {
    CAPTURE(word);
    CHECK_FALSE(fec_named(word));
  }
}

TEST_CASE("fec words: what the peer does not know is left out, or refused where it was asked for by name") {
  const Agreement knows{.capabilities = {std::string{capability_fec}}};
  const Agreement older{};
  const Fec automatic{.mode = FecMode::automatic};
  const Fec given{.mode = FecMode::fixed, .sources = 20, .repairs = 4};
  CHECK(*fec_for(automatic, knows) == automatic);
  CHECK(*fec_for(given, knows) == given);
  CHECK(*fec_for(automatic, older) == Fec{});
  CHECK(fec_for(given, older).error().code == ErrorCode::VERSION_MISMATCH);
}

TEST_CASE("ratio talk: the latest proposal that was answered holds, whatever answers come") {
  RatioTalk talk;
  const auto ratio = [](std::uint8_t repairs) {
    return engine::RepairRatio{.sources = 128, .repairs = repairs, .loss_ppm = 5, .window = 7};
  };
  CHECK_FALSE(talk.on_agreed(0));
  CHECK_FALSE(talk.on_agreed(1));
  for (std::uint8_t i = 1; i <= 3; ++i) {
    const auto message = talk.propose(0, ratio(i));
    CHECK(message.fec_ratio().number() == i);
    CHECK(*decode_ratio(message.fec_ratio()) == ratio(i));
  }
  CHECK(talk.on_agreed(2)->ratio == ratio(2));
  CHECK_FALSE(talk.on_agreed(1));  // overtaken
  CHECK_FALSE(talk.on_agreed(9));  // never proposed
  for (int i = 0; i < 100; ++i) (void)talk.propose(0, ratio(4));
  CHECK(talk.on_agreed(103));
}

TEST_CASE("ratio talk: each lane has its own ratio, and answers in its own time") {
  RatioTalk talk;
  const auto ratio = [](std::uint8_t repairs) { return engine::RepairRatio{.sources = 128, .repairs = repairs}; };
  CHECK(talk.propose(0, ratio(1)).fec_ratio().lane() == 0);
  CHECK(talk.propose(2, ratio(2)).fec_ratio().lane() == 2);
  CHECK(talk.propose(0, ratio(3)).fec_ratio().number() == 3);
  const auto third = talk.on_agreed(3);
  REQUIRE(third);
  CHECK(third->lane == 0);
  CHECK(third->ratio == ratio(3));
  CHECK_FALSE(talk.on_agreed(1));  // overtaken by its own lane's
  for (int i = 0; i < 100; ++i) (void)talk.propose(1, ratio(4));
  const auto second = talk.on_agreed(2);  // crowded out by no other lane's
  REQUIRE(second);
  CHECK(second->lane == 2);
  CHECK(second->ratio == ratio(2));
}

TEST_CASE("ratio talk: a proposal beyond the code or without a number is refused") {
  proto::FecRatio proposal;
  encode_ratio(1, {.sources = 128, .repairs = 128, .loss_ppm = 0, .window = engine::repair_window_max}, proposal);
  REQUIRE(decode_ratio(proposal).ok());
  const auto refused = [&](auto spoil) {
    proto::FecRatio wrong = proposal;
    spoil(wrong);
    return !decode_ratio(wrong).ok();
  };
  CHECK(refused([](proto::FecRatio& p) { p.set_number(0); }));
  CHECK(refused([](proto::FecRatio& p) { p.set_sources(0); }));
  CHECK(refused([](proto::FecRatio& p) { p.set_sources(129); }));
  CHECK(refused([](proto::FecRatio& p) { p.set_repairs(129); }));
  CHECK(refused([](proto::FecRatio& p) { p.set_window(engine::repair_window_max + 1); }));
}

}  // namespace
}  // namespace penstock::control
