#include "netem/link_words.h"

#include <doctest/doctest.h>

#include <string>

namespace penstock::netem {
namespace {

using namespace std::chrono_literals;

TEST_CASE("link words: durations are exact and need a unit") {
  CHECK(parse_duration("50ms").value() == 50ms);
  CHECK(parse_duration("1.5us").value() == 1500ns);
  CHECK(parse_duration("0.000000001s").value() == 1ns);
  CHECK(parse_duration("0").value() == 0ns);
  for (const char* bad :
       {"", "50", "-1ms", "1.ms", ".5ms", "5 ms", "1.0000000001s", "99999999999999999999s", "86401s"}) {
    CAPTURE(bad);
    CHECK(!parse_duration(bad).ok());
  }
}

TEST_CASE("link words: rates are decimal bits, in tc's and in our spelling, and never zero") {
  CHECK(parse_rate("500mbit").value() == DataRate::megabits_per_second(500));
  CHECK(parse_rate("1.5gbit").value() == DataRate::megabits_per_second(1500));
  CHECK(parse_rate("64k").value() == DataRate::bits_per_second(64'000));
  for (const char* bad : {"0", "0mbit", "5", "1tbit", "1001gbit", "mbit"}) {
    CAPTURE(bad);
    CHECK(!parse_rate(bad).ok());
  }
}

TEST_CASE("link words: probabilities are exact shares, at most all") {
  CHECK(parse_probability("1%").value() == Probability::percent(1));
  CHECK(parse_probability("0.0000001%").value() == Probability::parts_per_billion(1));
  CHECK(parse_probability("250ppm").value() == Probability::parts_per_million(250));
  CHECK(parse_probability("100%").value() == Probability::always());
  CHECK(!parse_probability("100.1%").ok());
  CHECK(!parse_probability("0.5").ok());
}

TEST_CASE("link words: none takes back a rate, a burst and a policer") {
  LinkSettings link;
  REQUIRE(set_link_words(link, parse_link_words("rate=8mbit,burst-loss=1%,20%,police=1mbit,64KiB").value()));
  REQUIRE(set_link_words(link, parse_link_words("rate=none,burst-loss=none,police=none").value()));
  CHECK(link == LinkSettings{});
}

TEST_CASE("link words: sizes are above zero and bounded") {
  CHECK(parse_size("256MiB").value() == 256 * MiB);
  CHECK(parse_size("64000").value() == 64'000);
  for (const char* text : {"0", "", "-1", "1e9", "65GiB", "70000MiB", "5 MiB"}) CHECK(!parse_size(text).ok());
}

TEST_CASE("link words: a burst needs p and r, the rest has tc-netem's defaults") {
  const BurstLoss burst = parse_burst_loss("1%,20%").value();
  CHECK(burst.loss_in_bad == Probability::always());
  CHECK(burst.loss_in_good == Probability::never());
  CHECK(parse_burst_loss("1%,20%,80%,0.1%").value().loss_in_good == Probability::parts_per_million(1000));
  CHECK(!parse_burst_loss("1%").ok());
  CHECK(!parse_burst_loss("1%,2%,3%,4%,5%").ok());
}

TEST_CASE("link words: a queue is bytes, packets or bandwidth-delay products") {
  const LinkSettings link{.delay = 25ms, .rate = DataRate::megabits_per_second(100)};
  CHECK(parse_queue("64KiB", link).value().bytes == 65536);
  CHECK(parse_queue("200p", link).value().packets == 200);
  CHECK(parse_queue("0.5bdp", link).value().bytes == 312'500);  // 12.5 MB/s x 50 ms / 2
  CHECK(parse_queue("0.0001bdp", link).value().bytes == 3000);
  CHECK(!parse_queue("1bdp", {}).ok());
  CHECK(!parse_queue("0", link).ok());
}

TEST_CASE("link words: a policer is a rate and a burst, in bytes or bandwidth-delay products of that rate") {
  const LinkSettings link{.delay = 25ms, .rate = DataRate::megabits_per_second(1000)};
  CHECK(parse_policer("50mbit,64KiB", link).value() == Policer{DataRate::megabits_per_second(50), 65536});
  CHECK(parse_policer("100mbit,0.5bdp", link).value() == Policer{DataRate::megabits_per_second(100), 312'500});
  for (const char* bad : {"", "50mbit", "50mbit,", ",64KiB", "50mbit,0", "50mbit,10p", "0,64KiB", "50mbit,1KiB,1KiB"}) {
    CAPTURE(bad);
    CHECK(!parse_policer(bad, link).ok());
  }
  const auto without_delay = parse_policer("50mbit,1bdp", {});
  REQUIRE(!without_delay.ok());
  CHECK(without_delay.error().message.find("needs a delay") != std::string::npos);
  LinkSettings late;
  REQUIRE(set_link_words(late, parse_link_words("police=8mbit,1bdp,delay=500ms").value()));
  CHECK(late.policer == Policer{DataRate::megabits_per_second(8), 1'000'000});
}

TEST_CASE("link words: a list is set as a whole or not at all, the queue after what it depends on") {
  LinkSettings link;
  REQUIRE(set_link_words(link, parse_link_words("queue=1bdp,rate=8mbit,delay=500ms,burst-loss=1%,20%,loss=2%").value())
              .ok());
  CHECK(link.queue.bytes == 1'000'000);
  CHECK(link.burst->to_good == Probability::percent(20));
  CHECK(link.loss == Probability::percent(2));
  const LinkSettings before = link;
  const Status refused = set_link_words(link, parse_link_words("loss=9%,colour=red").value());
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == ErrorCode::USAGE);
  CHECK(refused.error().message.find("colour") != std::string::npos);
  CHECK(link == before);
}

TEST_CASE("link words: every property can be set, and refuses nonsense") {
  for (const char* text :
       {"delay=1ms", "jitter=1ms", "jitter-order=free", "loss=1%", "burst-loss=1%,2%", "loss-placement=before",
        "rate=1mbit", "rate=none", "queue=5p", "mark=64KiB", "police=1mbit,64KiB", "reorder=1%", "reorder-delay=2ms",
        "duplicate=1%", "corrupt=1%", "mtu=1500", "overhead=28", "down=yes"}) {
    CAPTURE(text);
    LinkSettings link{.rate = DataRate::megabits_per_second(2)};
    const LinkSettings before = link;
    CHECK(set_link_words(link, parse_link_words(text).value()).ok());
    CHECK(link != before);
    const std::string word{std::string{text}.substr(0, std::string{text}.find('='))};
    CHECK(!set_link_word(link, word, "x").ok());
  }
}

TEST_CASE("link words: a change has a time and known words") {
  const LinkChange change = parse_link_change("10s:down=yes").value();
  CHECK(change.after == 10s);
  CHECK(change.words.size() == 1);
  CHECK(!parse_link_change("down=yes").ok());
  CHECK(!parse_link_change("10s:").ok());
  CHECK(!parse_link_change("10s:dwon=yes").ok());
}

}  // namespace
}  // namespace penstock::netem
