#include "control/client/path_memory.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/bytes/view.h"
#include "control/gate/private_file.h"

namespace penstock::control {
namespace {

using Json = nlohmann::json;
using std::chrono::microseconds;

constexpr int memory_version = 1;
constexpr std::size_t network_size_max = 64;
// Beyond any path; more is no word of ours.
constexpr std::uint64_t rate_bps_max = 1'000'000'000'000;
constexpr std::int64_t rtt_us_max = 60'000'000;

bool is_fresh(UnixSeconds at, UnixSeconds now) {
  // A clock that was set back makes moments of the future of what it saw.
  return at <= now && now.value - at.value <= path_age_max;
}

Json to_json(const RememberedPath& path) {
  Json json = {{"daemon", to_string(path.daemon)},
               {"network", path.network},
               {"from", path.from},
               {"rtt_us", std::chrono::duration_cast<microseconds>(path.rtt).count()},
               {"seen", path.seen.value},
               {"loss_permille", path.loss_permille}};
  const auto add = [&json](const char* name, const std::optional<RememberedRate>& rate) {
    if (rate) json[name] = {{"bps", rate->rate.bits_per_second()}, {"at", rate->at.value}};
  };
  add("up", path.up);
  add("down", path.down);
  return json;
}

// nullopt: malformed. Json's own accessors throw on wrong types, which the caller catches.
std::optional<RememberedPath> from_json(const Json& json, UnixSeconds now) {
  RememberedPath path;
  const auto pin = parse_pin(json.at("daemon").get<std::string>());
  path.network = json.at("network").get<std::string>();
  path.from = json.at("from").get<std::string>();
  const auto rtt = json.at("rtt_us").get<std::int64_t>();
  path.seen = {json.at("seen").get<std::int64_t>()};
  if (!pin || path.network.size() > network_size_max || path.from.size() > network_size_max || rtt <= 0 ||
      rtt > rtt_us_max)
    return std::nullopt;
  path.daemon = *pin;
  path.rtt = microseconds{rtt};
  path.loss_permille = json.value("loss_permille", std::uint32_t{0});  // younger than the file's version
  if (path.loss_permille > 1000) return std::nullopt;
  const auto read = [&](const char* name) -> std::optional<RememberedRate> {
    if (!json.contains(name)) return std::nullopt;
    const auto bps = json.at(name).at("bps").get<std::uint64_t>();
    const UnixSeconds at{json.at(name).at("at").get<std::int64_t>()};
    if (bps == 0 || bps > rate_bps_max || !is_fresh(at, now)) return std::nullopt;
    return RememberedRate{DataRate::bits_per_second(bps), at};
  };
  path.up = read("up");
  path.down = read("down");
  return path;
}

asio::ip::address plain(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return address;
}

std::optional<RememberedRate> newer(const std::optional<RememberedRate>& before, const PathNews& news,
                                    UnixSeconds now) {
  if (!news.estimate || news.estimate->rate == DataRate{}) return before;
  if (before && !news.estimate->filled && news.estimate->rate < before->rate) return before;
  return RememberedRate{std::min(news.estimate->rate, DataRate::bits_per_second(rate_bps_max)), now};
}

}  // namespace

std::string network_of(const asio::ip::address& address) {
  const auto of = plain(address);
  if (of.is_v4()) {
    auto bytes = of.to_v4().to_bytes();
    bytes[3] = 0;
    return asio::ip::make_address_v4(bytes).to_string() + "/24";
  }
  auto bytes = of.to_v6().to_bytes();
  std::fill(bytes.begin() + 6, bytes.end(), std::uint8_t{0});
  return asio::ip::make_address_v6(bytes).to_string() + "/48";
}

std::vector<RememberedPath> PathMemory::load(UnixSeconds now) const {
  std::vector<RememberedPath> paths;
  const auto contents = read_private_file(file_, Secrecy::none);
  if (!contents) return paths;
  try {
    const auto json = Json::parse(bytes::as_text(contents->view()));
    if (json.at("version").get<int>() != memory_version) return {};
    for (const auto& entry : json.at("paths")) {
      auto path = from_json(entry, now);
      if (!path) return {};
      if (is_fresh(path->seen, now)) paths.push_back(*std::move(path));
      if (paths.size() == paths_remembered_max) break;
    }
  } catch (const Json::exception&) {
    return {};
  }
  return paths;
}

std::optional<RememberedPath> PathMemory::find(const Pin& daemon, const asio::ip::address& remote,
                                               UnixSeconds now) const {
  auto paths = load(now);
  const auto network = network_of(remote);
  const auto found = std::ranges::find_if(
      paths, [&](const RememberedPath& path) { return path.daemon == daemon && path.network == network; });
  if (found == paths.end()) return std::nullopt;
  return std::move(*found);
}

void PathMemory::remember(const PathNews& news, UnixSeconds now) const {
  if (news.rtt <= Duration{}) return;
  auto paths = load(now);
  RememberedPath path;
  path.daemon = news.daemon;
  path.network = network_of(news.remote);
  path.from = network_of(news.local);
  path.rtt = std::clamp<Duration>(news.rtt, microseconds{1}, microseconds{rtt_us_max});
  path.seen = now;
  const auto same = [&](const RememberedPath& one) { return one.daemon == path.daemon && one.network == path.network; };
  if (const auto before = std::ranges::find_if(paths, same); before != paths.end()) {
    path.loss_permille = before->loss_permille;
    if (before->from == path.from) {
      path.up = before->up;
      path.down = before->down;
    }
    paths.erase(before);
  }
  if (news.packets_sent >= loss_packets_min && news.packets_lost <= news.packets_sent)
    path.loss_permille = static_cast<std::uint32_t>(
        (news.packets_lost - std::min(news.packets_lost, loss_packets_of_start)) * 1000 / news.packets_sent);
  auto& rate = news.sent ? path.up : path.down;
  rate = newer(rate, news, now);
  // Newest first, so that what is beyond the bound is what was not seen for longest.
  paths.insert(paths.begin(), std::move(path));
  if (paths.size() > paths_remembered_max) paths.resize(paths_remembered_max);

  Json list = Json::array();
  for (const auto& one : paths) list.push_back(to_json(one));
  const std::string text = Json{{"version", memory_version}, {"paths", std::move(list)}}.dump(
                               1, ' ', false, Json::error_handler_t::replace) +
                           "\n";
  (void)write_private_file(file_, bytes::as_bytes(text), Existing::replace);
}

std::optional<DataRate> rate_to_resume(const RememberedPath& path, bool sending, const asio::ip::address& local,
                                       Duration rtt) {
  const auto& rate = sending ? path.up : path.down;
  if (!rate || path.from != network_of(local)) return std::nullopt;
  if (rtt < path.rtt / 2 || rtt > 2 * path.rtt) return std::nullopt;
  return rate->rate;
}

}  // namespace penstock::control
