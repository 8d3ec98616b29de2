// Any Envelope as the first message of a stranger, at the daemon, and as the daemon's answer, at the client: refused or
// taken in, never a crash, and nothing is written before a proof.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>

#include "common/crypto/random.h"
#include "control/gate/client_exchange.h"
#include "control/gate/daemon_exchange.h"
#include "control/gate/failure.h"

using namespace penstock;
using namespace penstock::control;

namespace {

// Knows every token and nobody else; writing to it is the failure that this looks for.
class ReadOnlyRegistry final : public Registry {
 public:
  Status add_token(const TokenRecord&) override { std::abort(); }
  Result<std::vector<TokenRecord>> tokens() override { std::abort(); }
  Status revoke_token(const TokenId&, UnixSeconds) override { std::abort(); }
  Result<TokenVerdict<TokenStanding>> check_enrolment(const Enrolment&, UnixSeconds) override {
    return TokenVerdict<TokenStanding>{TokenStanding{}};
  }
  Result<TokenVerdict<ClientRecord>> enrol(const Enrolment&, const Uuid&, UnixSeconds) override { std::abort(); }
  Result<std::optional<ClientRecord>> find_client(const Uuid&) override { return std::optional<ClientRecord>{}; }
  Result<std::vector<ClientRecord>> clients() override { std::abort(); }
  Status set_grants(const Uuid&, std::span<const Grant>) override { std::abort(); }
  Status revoke_client(const Uuid&, UnixSeconds) override { std::abort(); }
  Status mark_seen(const Uuid&, UnixSeconds) override { std::abort(); }
  Result<std::uint64_t> change_counter() override { std::abort(); }
  Status log_transfer_started(const TransferRecord&) override { std::abort(); }
  Status log_transfer_ended(const TransferRecord&) override { std::abort(); }
  Result<std::optional<Uuid>> find_transfer_client(const std::array<std::byte, 16>&) override { std::abort(); }
  Result<std::vector<TransferRecord>> recent_transfers(std::size_t) override { std::abort(); }
};

const Identity& identity() {
  static const Identity made = [] {
    const auto directory = std::filesystem::temp_directory_path() / ("penstock-fuzz-" + to_string(make_uuid()));
    std::filesystem::create_directory(directory);
    auto loaded = Identity::load_or_create(directory);
    std::filesystem::remove_all(directory);
    return std::move(loaded).value();
  }();
  return made;
}
ChannelBinding binding() { return {.bind = {}, .key = {}, .daemon = identity().pin()}; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ReceiptKey receipt_key{crypto::Ed25519SigningKey::generate(), identity()};
  static const auto client_key = crypto::RsaPrivateKey::generate();
  const std::array<std::uint8_t, 4> prefix{static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
                                           static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  FrameDecoder decoder;
  decoder.feed(std::as_bytes(std::span{prefix}));
  decoder.feed(std::as_bytes(std::span{data, size}));
  const auto polled = decoder.poll();
  if (!polled || !*polled) return 0;
  const Frame& frame = **polled;

  ReadOnlyRegistry registry;
  DaemonExchange daemon{
      {.identity = &identity(), .receipt_key = &receipt_key, .connection_ids = {{1}, {2}}, .udp_port = 1},
      binding(),
      crypto::SecretArray<32>{},
      Uuid{}};
  if (auto known = daemon.handle_hello(frame, registry, UnixSeconds{1}); !known)
    (void)failure_envelope(known.error().wire).SerializeAsString();

  ClientExchange client{{.key = &client_key, .uuid = Uuid{}, .connection_ids = {{1}, {2}}}, binding(), {}};
  (void)client.hello();
  if (client.handle_wrap(frame).ok()) std::abort();  // nobody but the daemon can wrap for this connection
  return 0;
}
