#include "netem/link_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

namespace penstock::netem {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t one = 1'000'000'000;  // fixed point: nine decimal digits
constexpr std::uint64_t whole_max = 1'000'000'000'000;
constexpr int fraction_digits_max = 9;

Error usage(std::string_view what, std::string_view text, std::string_view examples) {
  return {ErrorCode::USAGE, fmt::format("'{}' is no {}; write it like {}", text, what, examples)};
}

struct Measure {
  std::uint64_t billionths;  // x one; fits: whole_max x one is below 2^70, hence checked against 2^63 on reading
  std::string_view unit;
};

/// A non-negative decimal number and what follows it.
std::optional<Measure> read_measure(std::string_view text) {
  std::uint64_t whole = 0;
  const char* const end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc{} || whole > whole_max) return std::nullopt;
  std::uint64_t fraction = 0;
  if (at != end && *at == '.') {
    std::uint64_t scale = one;
    int digits = 0;
    for (++at; at != end && *at >= '0' && *at <= '9'; ++at) {
      if (++digits > fraction_digits_max) return std::nullopt;
      scale /= 10;
      fraction += static_cast<std::uint64_t>(*at - '0') * scale;
    }
    if (digits == 0) return std::nullopt;
  }
  const Wide billionths = Wide{whole} * one + fraction;
  if (billionths > std::numeric_limits<std::uint64_t>::max() / 2) return std::nullopt;
  return Measure{static_cast<std::uint64_t>(billionths), {at, static_cast<std::size_t>(end - at)}};
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

/// The number in the base unit, rounded down; nullopt for an unknown unit or a value beyond `max`.
std::optional<std::uint64_t> read_scaled(std::string_view text, std::span<const Unit> units, std::uint64_t max) {
  const auto measure = read_measure(text);
  if (!measure) return std::nullopt;
  if (measure->billionths == 0 && measure->unit.empty()) return 0;
  for (const Unit& unit : units) {
    if (unit.name != measure->unit) continue;
    const Wide value = Wide{measure->billionths} * unit.factor / one;
    if (value > max) return std::nullopt;
    return static_cast<std::uint64_t>(value);
  }
  return std::nullopt;
}

constexpr std::uint64_t duration_max_ns = std::uint64_t{24} * 3600 * one;
constexpr std::uint64_t rate_max_bps = 1'000 * one;
constexpr std::uint64_t size_max = 64 * GiB;

constexpr std::array<Unit, 4> duration_units{{{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", one}}};
constexpr std::array<Unit, 7> rate_units{
    {{"bit", 1}, {"kbit", 1'000}, {"mbit", 1'000'000}, {"gbit", one}, {"k", 1'000}, {"M", 1'000'000}, {"G", one}}};
constexpr std::array<Unit, 2> probability_units{{{"%", 10'000'000}, {"ppm", 1'000}}};
constexpr std::array<Unit, 3> size_units{{{"", 1}, {"KiB", KiB}, {"MiB", MiB}}};

Result<std::uint32_t> parse_u32(std::string_view text, std::string_view what) {
  const auto bytes = read_scaled(text, size_units, std::numeric_limits<std::uint32_t>::max());
  if (!bytes) return usage(what, text, "1500");
  return static_cast<std::uint32_t>(*bytes);
}

template <class Target, class T>
Status assign(Target& target, Result<T> parsed) {
  if (!parsed) return std::move(parsed).error();
  target = std::move(parsed).value();
  return {};
}

/// `bdp` looks at other words, so these are set last.
bool may_say_bdp(std::string_view word) { return word == "queue" || word == "mark" || word == "police"; }

/// One of two words.
template <class T>
Status choose(T& target, std::string_view word, std::string_view value, std::string_view first, T if_first,
              std::string_view second, T if_second) {
  if (value != first && value != second) return usage(word, value, fmt::format("{} or {}", first, second));
  target = value == first ? if_first : if_second;
  return {};
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  const auto ns = read_scaled(text, duration_units, duration_max_ns);
  if (!ns) return usage("duration", text, "50ms, 250us or 2s (at most 24 hours)");
  return Duration{static_cast<Duration::rep>(*ns)};
}

Result<DataRate> parse_rate(std::string_view text) {
  const auto bits = read_scaled(text, rate_units, rate_max_bps);
  if (!bits || *bits == 0) return usage("rate", text, "500mbit, 1.5gbit or 64kbit (above 0, at most 1000 Gbit/s)");
  return DataRate::bits_per_second(*bits);
}

Result<Probability> parse_probability(std::string_view text) {
  const auto ppb = read_scaled(text, probability_units, Probability::certain_ppb);
  if (!ppb) return usage("probability", text, "1%, 0.05% or 250ppm (at most 100%)");
  return Probability::parts_per_billion(static_cast<std::uint32_t>(*ppb));
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto bytes = read_scaled(text, size_units, size_max);
  if (!bytes || *bytes == 0) return usage("size", text, "64000, 64KiB or 256MiB (above 0, at most 64 GiB)");
  return *bytes;
}

Result<BurstLoss> parse_burst_loss(std::string_view text) {
  BurstLoss burst;
  const std::array<Probability*, 4> parts{&burst.to_bad, &burst.to_good, &burst.loss_in_bad, &burst.loss_in_good};
  std::size_t count = 0;
  for (std::string_view rest = text; count < parts.size();) {
    const std::size_t comma = rest.find(',');
    auto part = parse_probability(rest.substr(0, comma));
    if (!part) return std::move(part).error();
    *parts[count++] = *part;
    if (comma == std::string_view::npos) {
      if (count >= 2) return burst;
      break;
    }
    rest.remove_prefix(comma + 1);
  }
  return usage("burst loss", text, "p,r or p,r,1-h or p,r,1-h,1-k, such as 1%,20%");
}

Result<QueueLimit> parse_queue(std::string_view text, const LinkSettings& link) {
  const auto refuse = [&] { return usage("queue", text, "64000, 256KiB, 200p (packets) or 1bdp"); };
  constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();
  const auto measure = read_measure(text);
  if (!measure) return refuse();
  if (measure->unit == "p") {
    const std::uint64_t packets = measure->billionths / one;
    if (packets == 0) return refuse();
    return QueueLimit{.bytes = unlimited, .packets = packets};
  }
  if (measure->unit == "bdp") {
    if (!link.rate || link.delay == Duration::zero()) {
      return Error{ErrorCode::USAGE, fmt::format("queue '{}' needs a rate and a delay", text)};
    }
    const Wide bytes = Wide{link.rate->bytes_in(2 * link.delay)} * measure->billionths / one;
    if (bytes > size_max) return refuse();
    return QueueLimit{.bytes = std::max<std::uint64_t>(static_cast<std::uint64_t>(bytes), 2 * 1500),
                      .packets = unlimited};
  }
  const auto bytes = read_scaled(text, size_units, size_max);
  if (!bytes || *bytes == 0) return refuse();
  return QueueLimit{.bytes = *bytes, .packets = unlimited};
}

Result<Policer> parse_policer(std::string_view text, const LinkSettings& link) {
  const auto refuse = [&] { return usage("policer", text, "50mbit,64KiB or 50mbit,0.5bdp (rate, then burst)"); };
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return refuse();
  auto rate = parse_rate(text.substr(0, comma));
  if (!rate) return std::move(rate).error();
  const std::string_view size = text.substr(comma + 1);
  if (size.ends_with("bdp") && link.delay == Duration::zero())
    return Error{ErrorCode::USAGE, fmt::format("policer '{}' needs a delay", text)};
  const auto burst = parse_queue(size, {.delay = link.delay, .rate = *rate});
  if (!burst || burst->bytes == std::numeric_limits<std::uint64_t>::max()) return refuse();
  return Policer{.rate = *rate, .burst = burst->bytes};
}

Status set_link_word(LinkSettings& link, std::string_view word, std::string_view value) {
  if (word == "delay") return assign(link.delay, parse_duration(value));
  if (word == "jitter") return assign(link.jitter, parse_duration(value));
  if (word == "jitter-order")
    return choose(link.jitter_order, word, value, "kept", JitterOrder::kept, "free", JitterOrder::free);
  if (word == "loss") return assign(link.loss, parse_probability(value));
  if (word == "burst-loss" && value == "none") {
    link.burst.reset();
    return {};
  }
  if (word == "burst-loss") return assign(link.burst, parse_burst_loss(value));
  if (word == "loss-placement") {
    return choose(link.loss_placement, word, value, "after", LossPlacement::after_bottleneck, "before",
                  LossPlacement::before_bottleneck);
  }
  if (word == "rate" && value == "none") {
    link.rate.reset();
    return {};
  }
  if (word == "rate") return assign(link.rate, parse_rate(value));
  if (word == "queue") return assign(link.queue, parse_queue(value, link));
  if (word == "mark" && value == "none") {
    link.mark_above.reset();
    return {};
  }
  if (word == "mark") {
    auto threshold = parse_queue(value, link);
    if (!threshold) return std::move(threshold).error();
    if (threshold->bytes == std::numeric_limits<std::uint64_t>::max())
      return usage("mark", value, "64000, 64KiB, 0.1bdp or none");
    link.mark_above = threshold->bytes;
    return {};
  }
  if (word == "police" && value == "none") {
    link.policer.reset();
    return {};
  }
  if (word == "police") return assign(link.policer, parse_policer(value, link));
  if (word == "reorder") return assign(link.reorder, parse_probability(value));
  if (word == "reorder-delay") return assign(link.reorder_delay, parse_duration(value));
  if (word == "duplicate") return assign(link.duplicate, parse_probability(value));
  if (word == "corrupt") return assign(link.corrupt, parse_probability(value));
  if (word == "mtu") return assign(link.mtu, parse_u32(value, word));
  if (word == "overhead") return assign(link.overhead, parse_u32(value, word));
  if (word == "down") return choose(link.down, word, value, "yes", true, "no", false);
  return Error{ErrorCode::USAGE, fmt::format("'{}' is no property of a link", word)};
}

Result<LinkWords> parse_link_words(std::string_view text) {
  LinkWords words;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t comma = rest.find(',');
    const std::string_view piece = rest.substr(0, comma);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    const std::size_t equals = piece.find('=');
    if (equals != std::string_view::npos) {
      words.emplace_back(piece.substr(0, equals), piece.substr(equals + 1));
    } else if (!words.empty()) {
      words.back().second.append(",").append(piece);
    } else {
      return usage("list of link properties", text, "loss=5%,delay=80ms");
    }
  }
  if (words.empty()) return usage("list of link properties", text, "loss=5%,delay=80ms");
  return words;
}

Status set_link_words(LinkSettings& link, const LinkWords& words) {
  LinkSettings changed = link;
  for (const bool last_turn : {false, true}) {
    for (const auto& [word, value] : words) {
      if (may_say_bdp(word) != last_turn) continue;
      if (Status status = set_link_word(changed, word, value); !status) return status;
    }
  }
  link = changed;
  return {};
}

Result<LinkChange> parse_link_change(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return usage("change of a link", text, "10s:loss=5%,delay=80ms");
  auto after = parse_duration(text.substr(0, colon));
  if (!after) return std::move(after).error();
  auto words = parse_link_words(text.substr(colon + 1));
  if (!words) return std::move(words).error();
  LinkSettings scratch{.delay = std::chrono::milliseconds{1}, .rate = DataRate::megabits_per_second(1)};
  if (Status status = set_link_words(scratch, *words); !status) return std::move(status).error();
  return LinkChange{.after = *after, .words = std::move(words).value()};
}

}  // namespace penstock::netem
