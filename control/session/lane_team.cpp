#include "control/session/lane_team.h"

#include <algorithm>
#include <utility>

#include "control/transfer/message_codec.h"

namespace penstock::control {
namespace {

void add(engine::LaneStats& sum, const engine::LaneStats& one) {
  sum.packets_sent += one.packets_sent;
  sum.packets_received += one.packets_received;
  sum.packets_lost += one.packets_lost;
  sum.packets_duplicate += one.packets_duplicate;
  sum.packets_unauthentic += one.packets_unauthentic;
  sum.packets_malformed += one.packets_malformed;
  sum.bytes_sent += one.bytes_sent;
  sum.bytes_received += one.bytes_received;
  sum.payload_bytes_sent += one.payload_bytes_sent;
  sum.payload_bytes_retransmitted += one.payload_bytes_retransmitted;
  sum.payload_bytes_received += one.payload_bytes_received;
  sum.payload_bytes_duplicate += one.payload_bytes_duplicate;
  sum.bytes_settled += one.bytes_settled;
  sum.packets_refused_by_sink += one.packets_refused_by_sink;
  sum.packets_outside_lease += one.packets_outside_lease;
  // Each tells the running total of a socket, and most share one.
  sum.peer_socket_drops = std::max(sum.peer_socket_drops, one.peer_socket_drops);
  sum.repairs_sent += one.repairs_sent;
  sum.repairs_received += one.repairs_received;
  sum.generations_failed += one.generations_failed;
  sum.symbols_recovered += one.symbols_recovered;
  sum.packets_marked += one.packets_marked;
  sum.marks_told += one.marks_told;
  sum.marks_received += one.marks_received;
  // They share the path, and what one has found of it is so for all.
  if (sum.ecn_fault == engine::EcnFault::none && one.ecn_fault != engine::EcnFault::none) {
    sum.ecn = one.ecn;
    sum.ecn_fault = one.ecn_fault;
  }
  sum.key_updates += one.key_updates;
  sum.spurious_losses += one.spurious_losses;
  sum.pto_count += one.pto_count;
  sum.cwnd += one.cwnd;
  sum.bytes_in_flight += one.bytes_in_flight;
  sum.paced_by_cap = sum.paced_by_cap && one.paced_by_cap;
  sum.thread_busy_percent = std::max(sum.thread_busy_percent, one.thread_busy_percent);
  sum.pacing_rate = DataRate::bits_per_second(sum.pacing_rate.bits_per_second() + one.pacing_rate.bits_per_second());
  // The lanes share source, path and machine: what holds back one that has work is what holds back most of them.
  if (one.limit != engine::SenderLimit::nothing_to_send && sum.limit == engine::SenderLimit::nothing_to_send)
    sum.limit = one.limit;
  sum.stream_messages += one.stream_messages;
  sum.stream_bytes += one.stream_bytes;
  sum.stream_bytes_repeated += one.stream_bytes_repeated;
  sum.stream_bytes_arrived += one.stream_bytes_arrived;
  // UDP answers if it answers any of them, and that is asked of all since the first of them waits.
  if (one.answered_at && (!sum.answered_at || *one.answered_at > *sum.answered_at)) sum.answered_at = one.answered_at;
  if (one.unanswered_since && (!sum.unanswered_since || *one.unanswered_since < *sum.unanswered_since))
    sum.unanswered_since = one.unanswered_since;
  if (one.data_answered_at) sum.data_answered_at = std::max(sum.data_answered_at, one.data_answered_at);
  if (one.data_unanswered_since)
    sum.data_unanswered_since =
        std::min(sum.data_unanswered_since.value_or(*one.data_unanswered_since), *one.data_unanswered_since);
  // The transfer's tail: from the last lane's last new byte until the last lane has all acknowledged.
  if (one.last_new_sent_at) {
    if (!sum.last_new_sent_at || !one.all_acked_at)
      sum.all_acked_at = one.all_acked_at;
    else if (sum.all_acked_at)
      sum.all_acked_at = std::max(*sum.all_acked_at, *one.all_acked_at);
    sum.last_new_sent_at = std::max(sum.last_new_sent_at.value_or(*one.last_new_sent_at), *one.last_new_sent_at);
  }
  if (one.last_heard && (!sum.last_heard || *one.last_heard > *sum.last_heard)) sum.last_heard = one.last_heard;
}

}  // namespace

/// Hears lane `lane` on its worker. Messages travel by lane 0 alone; whatever else comes is taken home.
class LaneTeam::Ear final : public io::LaneObserver {
 public:
  Ear(std::weak_ptr<LaneTeam> team, std::shared_ptr<const Refs> refs, std::size_t lane, std::shared_ptr<Mark> mark)
      : team_(std::move(team)), refs_(std::move(refs)), lane_(lane), mark_(std::move(mark)) {}

  void on_event(const engine::SenderEvent& event) override {
    if (const auto* news = std::get_if<engine::CongestionNews>(&event)) return spread(*refs_, lane_, *news);
    if (const auto* proposal = std::get_if<engine::RepairProposal>(&event))
      return home([lane = lane_, ratio = proposal->ratio](LaneTeam& team) {
        if (team.host_ != nullptr) team.host_->on_team_proposes(lane, ratio);
      });
    on_common(event);
  }
  void on_event(const engine::ReceiverEvent& event) override { on_common(event); }
  void on_stream_ack(const engine::StreamAck& ack) override {
    home([lane = lane_, ack](LaneTeam& team) {
      if (team.host_ != nullptr) team.host_->on_team_stream_ack(lane, ack);
    });
  }
  void on_stats(const engine::LaneStats& stats) override {
    home([lane = lane_, stats](LaneTeam& team) { team.on_lane_stats(lane, stats); });
  }

 private:
  template <class Event>
  void on_common(const Event& event) {
    if (const auto* drained = std::get_if<engine::Drained>(&event))
      return home([lane = lane_, generation = mark_->generation, end = drained->end](LaneTeam& team) {
        team.on_lane_drained(lane, generation, end);
      });
    if (std::get_if<engine::PeerHeard>(&event) != nullptr)
      return home([](LaneTeam& team) {
        if (team.host_ != nullptr) team.host_->on_team_heard();
      });
    if (const auto* closed = std::get_if<engine::Closed>(&event))
      return home([lane = lane_, closed = *closed](LaneTeam& team) { team.on_lane_closed(lane, closed); });
  }
  void home(std::function<void(LaneTeam&)> act) const {
    refs_->front().worker->post([weak = team_, act = std::move(act)] {
      if (const auto team = weak.lock()) act(*team);
    });
  }

  std::weak_ptr<LaneTeam> team_;
  std::shared_ptr<const Refs> refs_;
  std::size_t lane_;
  std::shared_ptr<Mark> mark_;
};

LaneTeam::LaneTeam(std::vector<LaneRef> lanes, LaneTeamHost& host)
    : refs_(std::make_shared<const Refs>(std::move(lanes))),
      host_(&host),
      lanes_(refs_->size()),
      table_(refs_->size()),
      desk_(refs_->size()) {
  for (std::size_t lane = 0; lane < refs_->size(); ++lane) marks_.push_back(std::make_shared<Mark>());
}

void LaneTeam::start(std::shared_ptr<storage::SourceReader> reader, std::shared_ptr<storage::Sink> sink) {
  reader_ = std::move(reader);
  sink_ = std::move(sink);
  if (reader_ && !alone())
    reader_->on_frontier([weak = weak_from_this()](std::size_t lane, TransferOffset frontier) {
      if (const auto self = weak.lock()) self->on_frontier(lane, frontier);
    });
}

std::shared_ptr<io::LaneObserver> LaneTeam::make_ear(std::size_t lane) {
  return std::make_shared<Ear>(weak_from_this(), refs_, lane, marks_.at(lane));
}

void LaneTeam::spread(const Refs& refs, std::size_t from, const engine::CongestionNews& news) {
  for (std::size_t lane = 0; lane < refs.size(); ++lane) {
    if (lane == from) continue;
    refs[lane].worker->with_sender(
        refs[lane].own, [news](engine::Sender& sender, TimePoint now) { sender.on_sibling_congestion(now, news); });
  }
}

void LaneTeam::at_home(std::function<void(LaneTeam&)> act) const {
  refs_->front().worker->post(
      [weak = std::weak_ptr<LaneTeam>(std::const_pointer_cast<LaneTeam>(shared_from_this())), act = std::move(act)] {
        if (const auto team = weak.lock()) act(*team);
      });
}

// --- words to the lanes ---------------------------------------------------------------------------------------------

void LaneTeam::tell_sender(std::size_t lane, Reopens reopens, std::function<void(engine::Sender&)> act) {
  LaneState& state = lanes_[lane];
  if (state.ending) return;
  if (reopens == Reopens::yes) {
    ++state.generation;
    state.drained.reset();
  }
  (*refs_)[lane].worker->with_sender((*refs_)[lane].own, [mark = marks_[lane], generation = state.generation,
                                                          act = std::move(act)](engine::Sender& sender, TimePoint) {
    mark->generation = generation;
    act(sender);
  });
}

void LaneTeam::tell_receiver(std::size_t lane, Reopens reopens, std::function<void(engine::Receiver&, TimePoint)> act) {
  LaneState& state = lanes_[lane];
  if (reopens == Reopens::yes) {
    ++state.generation;
    state.drained.reset();
  }
  (*refs_)[lane].worker->with_receiver((*refs_)[lane].own,
                                       [mark = marks_[lane], generation = state.generation, act = std::move(act)](
                                           engine::Receiver& receiver, TimePoint now) {
                                         mark->generation = generation;
                                         act(receiver, now);
                                       });
}

void LaneTeam::tell_senders(Reopens reopens, const std::function<void(engine::Sender&)>& act) {
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) tell_sender(lane, reopens, act);
}

void LaneTeam::tell_receivers(Reopens reopens, const std::function<void(engine::Receiver&, TimePoint)>& act) {
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) tell_receiver(lane, reopens, act);
}

void LaneTeam::let_go(bool sends, std::function<void()> done) {
  const auto left = std::make_shared<std::size_t>(lanes_.size());
  const auto gone = [left, done = std::move(done), self = shared_from_this()] {
    if (--*left == 0 && done) done();
  };
  for (const LaneRef& ref : *refs_) {
    if (sends) {
      ref.worker->with_sender(ref.own,
                              [](engine::Sender& sender, TimePoint) { sender.close(engine::TransportError::none); });
    } else {
      ref.worker->with_receiver(
          ref.own, [](engine::Receiver& receiver, TimePoint) { receiver.close(engine::TransportError::none); });
    }
    if (&ref == &refs_->front()) {
      ref.worker->remove(ref.own, gone);
    } else {
      ref.worker->remove(ref.own, [home = refs_->front().worker, gone] { home->post(gone); });
    }
  }
}

void LaneTeam::async_stats(bool sends, std::function<void(const engine::LaneStats&)> done) {
  const auto left = std::make_shared<std::size_t>(0);
  const auto arrived = [left, done = std::move(done)](LaneTeam& team, std::size_t lane,
                                                      const engine::LaneStats& stats) {
    team.lanes_[lane].stats = stats;
    if (--*left == 0) done(team.sum());
  };
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (lanes_[lane].ending) continue;
    ++*left;
    const LaneRef& ref = (*refs_)[lane];
    const auto bring = [self = shared_from_this(), lane, arrived](const engine::LaneStats& stats) {
      if (lane == 0) return arrived(*self, 0, stats);
      self->at_home([arrived, lane, stats](LaneTeam& team) { arrived(team, lane, stats); });
    };
    if (sends) {
      ref.worker->with_sender(ref.own, [bring](engine::Sender& sender, TimePoint) { bring(sender.stats()); });
    } else {
      ref.worker->with_receiver(ref.own, [bring](engine::Receiver& receiver, TimePoint) { bring(receiver.stats()); });
    }
  }
}

// --- words from the lanes -------------------------------------------------------------------------------------------

void LaneTeam::on_lane_drained(std::size_t lane, std::uint64_t generation, TransferOffset end) {
  // It had not heard yet that there is more to do.
  if (!alone() && generation != lanes_[lane].generation) return;
  lanes_[lane].drained = end;
  check_drained();
}

void LaneTeam::check_drained() {
  if (host_ == nullptr || table_.is_moving() || desk_.is_moving()) return;
  std::optional<TransferOffset> all;
  for (const LaneState& lane : lanes_) {
    if (lane.over) continue;
    if (lane.ending || !lane.drained) return;
    all = all ? std::min(*all, *lane.drained) : *lane.drained;
  }
  if (all) host_->on_team_drained(*all);
}

void LaneTeam::on_lane_stats(std::size_t lane, const engine::LaneStats& stats) {
  lanes_[lane].stats = stats;
  if (host_ != nullptr) host_->on_team_stats(alone() ? stats : sum());
}

engine::LaneStats LaneTeam::sum() const {
  engine::LaneStats sum = lanes_.front().stats;
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane) add(sum, lanes_[lane].stats);
  // What a dead lane had sent its heir sends for the first time, or hears that it is there; and of a lane whose last
  // new bytes went by the stream nobody noted when. So the tail is not known.
  const bool untold = std::ranges::any_of(lanes_, [](const LaneState& lane) {
    return lane.ending || lane.over || (!lane.stats.last_new_sent_at && lane.stats.stream_bytes > 0);
  });
  if (untold) {
    sum.last_new_sent_at.reset();
    sum.all_acked_at.reset();
  }
  return sum;
}

void LaneTeam::on_lane_closed(std::size_t lane, const engine::Closed& closed) {
  // A receiver's end is told to the sender, which moves its extents. An orderly one ends the transfer at both ends.
  if (reader_ && closed.error != engine::TransportError::none) end_lane(lane);
}

// --- repair symbols -------------------------------------------------------------------------------------------------

void LaneTeam::on_repair_agreed(std::size_t lane, const engine::RepairRatio& ratio) {
  tell_sender(lane, Reopens::no, [ratio](engine::Sender& sender) { sender.on_repair_agreed(ratio); });
}

bool LaneTeam::on_repair_proposed(std::size_t lane, const engine::RepairRatio& ratio, std::function<void()> done) {
  if (lane >= lanes_.size()) return false;
  tell_receiver(lane, Reopens::no,
                [self = shared_from_this(), ratio, done = std::move(done)](engine::Receiver& receiver, TimePoint) {
                  receiver.on_repair_agreed(ratio);
                  self->at_home([done](LaneTeam&) { done(); });
                });
  return true;
}

// --- the source's leases --------------------------------------------------------------------------------------------

void LaneTeam::on_frontier(std::size_t lane, TransferOffset frontier) {
  table_.on_frontier(lane, frontier);
  balance();
}

void LaneTeam::balance() {
  if (host_ == nullptr) return;
  while (const auto wish = table_.poll_wish()) {
    tell_sender(wish->from, Reopens::no, [self = shared_from_this(), wish = *wish](engine::Sender& sender) {
      auto yielded = sender.yield(wish.to, wish.below);
      const auto answer = [wish, yielded = std::move(yielded)](LaneTeam& team) {
        std::optional<std::uint64_t> extent;
        if (yielded) extent = yielded->extent;
        for (const auto& told : team.table_.on_yielded(wish, extent, yielded ? yielded->state : engine::ExtentState{}))
          team.say(told);
      };
      self->at_home(answer);
    });
  }
}

void LaneTeam::say(const engine::NumberedMove& move) {
  if (host_ == nullptr) return;
  reader_->on_extents_moved(move.move);
  proto::Envelope envelope;
  encode_move(move, *envelope.mutable_move_extent());
  host_->send(std::move(envelope));
}

void LaneTeam::on_admitted(std::uint64_t number) {
  if (host_ == nullptr) return;
  const auto admitted = table_.on_admitted(number);
  if (!admitted) return fail_peer();
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (lane == admitted->move.from) continue;
    const bool gains = lane == admitted->move.to;
    tell_sender(lane, gains ? Reopens::yes : Reopens::no, [gains, admitted = *admitted](engine::Sender& sender) {
      if (gains)
        sender.adopt(admitted.move, admitted.state);
      else
        sender.note(admitted.move);
    });
  }
  check_drained();
  balance();
}

void LaneTeam::end_lane(std::size_t lane) {
  LaneState& state = lanes_[lane];
  if (host_ == nullptr || lane == 0 || state.ending) return;
  const LaneRef& ref = (*refs_)[lane];
  tell_sender(lane, Reopens::no, [self = shared_from_this(), lane](engine::Sender& sender) {
    const auto answer = [lane, known = sender.surrender()](LaneTeam& team) {
      team.lanes_[lane].over = true;
      if (team.host_ == nullptr) return;
      team.reader_->on_lane_over(lane);
      team.say(team.table_.on_lane_over(lane, known));
    };
    self->at_home(answer);
    sender.close(engine::TransportError::none);
  });
  ref.worker->remove(ref.own);
  state.ending = true;
  table_.on_lane_ending(lane);
}

void LaneTeam::set_watching(TimePoint now, bool watching) {
  watching_ = watching;
  if (heard_first_) heard_first_ = now;
}

void LaneTeam::on_tick(TimePoint now) {
  if (alone() || host_ == nullptr || !reader_ || !watching_) return;
  const auto heard_by_any = sum().last_heard;
  if (!heard_by_any) return;  // that nothing gets through at all is the session's to notice
  if (!heard_first_) heard_first_ = now;
  const Duration patience = std::max(lane_silence_max, 6 * lanes_.front().stats.rtt_smoothed);
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane) {
    const LaneState& state = lanes_[lane];
    if (state.ending || state.drained || (state.stats.last_heard && state.stats.bytes_in_flight == 0)) continue;
    const TimePoint since = std::max(state.stats.last_heard.value_or(*heard_first_), *heard_first_);
    if (now - since < patience) continue;
    // Where the others wait for an answer as well, the path is down, and no lane is worse than another.
    const bool others_fare_better = std::ranges::any_of(lanes_, [&](const LaneState& other) {
      return &other != &state && !other.ending && other.stats.last_heard &&
             (now - *other.stats.last_heard < patience || other.stats.bytes_in_flight == 0);
    });
    if (others_fare_better) end_lane(lane);
  }
}

// --- the sink's leases ----------------------------------------------------------------------------------------------

void LaneTeam::on_move(const engine::NumberedMove& move) {
  if (host_ == nullptr) return;
  if (!desk_.on_move(move)) return fail_peer();
  pump_desk();
}

void LaneTeam::pump_desk() {
  const auto move = desk_.poll();
  if (!move || host_ == nullptr) return;
  tell_receiver(
      move->move.from, Reopens::yes,
      [self = shared_from_this(), sink = sink_, move = *move](engine::Receiver& receiver, TimePoint) {
        const std::size_t lane = move.move.from;
        const auto state = receiver.give_up(move.move);
        const engine::ExtentMap map(self->size());
        const auto bytes = move.move.extent ? map.bytes_of(*move.move.extent) : bytes::Interval{0, transfer_space_max};
        sink->on_given_up(lane, {{bytes.begin}, {bytes.end}});
        self->at_home([move, state](LaneTeam& team) {
          if (!state) return team.fail_peer();
          team.admit(move, *state);
        });
      });
}

void LaneTeam::admit(const engine::NumberedMove& move, const engine::ExtentState& state) {
  if (host_ == nullptr) return;
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (lane == move.move.from) continue;
    if (lane != move.move.to) {
      tell_receiver(lane, Reopens::no,
                    [moved = move.move](engine::Receiver& receiver, TimePoint) { receiver.note(moved); });
      continue;
    }
    tell_receiver(lane, Reopens::yes, [self = shared_from_this(), move, state](engine::Receiver& receiver, TimePoint) {
      const bool adopted = receiver.adopt(move.move, state);
      self->at_home([move, adopted](LaneTeam& team) {
        if (team.host_ == nullptr) return;
        if (!adopted) return team.fail_peer();
        team.desk_.on_done();
        if (!move.move.extent) team.lanes_[move.move.from].over = true;
        proto::Envelope envelope;
        envelope.mutable_extent_moved()->set_number(move.number);
        team.host_->send(std::move(envelope));
        team.check_drained();
        team.pump_desk();
      });
    });
  }
}

void LaneTeam::fail_peer() {
  if (host_ == nullptr) return;
  host_->on_team_failed({ErrorCode::INTERNAL,
                         "the other end broke the protocol: it moves extents that are not where it says",
                         {},
                         ErrorSide::remote});
}

}  // namespace penstock::control
