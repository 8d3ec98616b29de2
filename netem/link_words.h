#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"
#include "netem/link_settings.h"

namespace penstock::netem {

/// The words in which people write a link, the same for every back end and program of the lab. Integers only: a decimal
/// fraction of at most nine digits is read exactly. Errors are USAGE and name the word.

/// `250ns`, `1.5us`, `50ms`, `2s`; `0` needs no unit.
Result<Duration> parse_duration(std::string_view text);
/// `500mbit`, `1.5gbit`, `64kbit`, `1200bit`, or `500M`, `64k`, `1G`: decimal bits a second, above zero.
Result<DataRate> parse_rate(std::string_view text);
/// `1%`, `0.05%`, `250ppm`; `0` needs no unit. At most 100 %.
Result<Probability> parse_probability(std::string_view text);
/// `64000`, `64KiB`, `256MiB`: bytes, above zero, at most 64 GiB.
Result<std::uint64_t> parse_size(std::string_view text);
/// `p,r[,1-h[,1-k]]`, each a probability.
Result<BurstLoss> parse_burst_loss(std::string_view text);
/// `64000` or `64KiB`, `1MiB` (bytes), `200p` (packets), or `0.5bdp`: that many times rate x 2 x delay of `link`, which
/// must have both; never less than two packets of 1500 bytes.
Result<QueueLimit> parse_queue(std::string_view text, const LinkSettings& link);

/// `50mbit,64KiB`: the rate, then the burst in bytes or, as of a queue, in `bdp` of that rate and `link`'s delay.
Result<Policer> parse_policer(std::string_view text, const LinkSettings& link);

/// Sets one word of a link: delay jitter jitter-order (kept|free) loss burst-loss (`none` too) loss-placement
/// (before|after) rate (`none` too) queue mark (bytes or bdp, as queue; `none` too) police (`none` too) reorder
/// reorder-delay duplicate corrupt mtu overhead down (yes|no). On error `link` is unchanged.
Status set_link_word(LinkSettings& link, std::string_view word, std::string_view value);

/// `word=value` pairs. A comma separates pairs and is part of values of burst-loss and police too: a piece without `=`
/// belongs to the value before it.
using LinkWords = std::vector<std::pair<std::string, std::string>>;
Result<LinkWords> parse_link_words(std::string_view text);
/// Sets them all, `queue`, `mark` and `police` after the others because `bdp` looks at them. On error `link` is
/// unchanged.
Status set_link_words(LinkSettings& link, const LinkWords& words);

/// `10s:loss=5%,delay=80ms`: what changes, and when after the start.
struct LinkChange {
  Duration after;
  LinkWords words;
};
/// Checked against a link with a rate and a delay, so that the words are known to make sense.
Result<LinkChange> parse_link_change(std::string_view text);

}  // namespace penstock::netem
