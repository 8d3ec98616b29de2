#include "control/session/data_outlet.h"

#include <algorithm>
#include <asio/post.hpp>
#include <string>
#include <utility>

#include "control/session/data_message.h"

namespace penstock::control {

DataOutlet::DataOutlet(asio::any_io_executor control, std::shared_ptr<SessionLink> link, std::size_t lane,
                       io::Worker& worker, ConnectionId own, std::size_t bytes_max)
    : control_(std::move(control)),
      link_(std::move(link)),
      lane_(lane),
      worker_(worker),
      own_(own),
      bytes_max_(bytes_max) {}

std::size_t DataOutlet::room() {
  if (waiting_.load() >= bytes_max_) {
    // Said before it is looked at again: what is written in between finds us waiting.
    starved_.store(true);
    if (waiting_.load() >= bytes_max_) return 0;
    starved_.store(false);
  }
  return std::min(link_->data_frame_max(), engine::stream_payload_usual);
}

void DataOutlet::put(const engine::StreamChunk& chunk) {
  std::string frame = encode_data_frame(static_cast<std::uint32_t>(lane_), chunk.at, chunk.payload);
  waiting_.fetch_add(frame.size());
  asio::post(control_, [link = link_, lane = lane_, frame = std::move(frame)]() mutable {
    link->send_data(lane, std::move(frame));
  });
}

void DataOutlet::on_written(std::size_t bytes) {
  const std::size_t left = waiting_.fetch_sub(bytes) - bytes;
  if (left <= bytes_max_ / 2 && starved_.exchange(false))
    worker_.with_sender(own_, [](engine::Sender&, TimePoint) {});  // with which it is looked at
}

}  // namespace penstock::control
