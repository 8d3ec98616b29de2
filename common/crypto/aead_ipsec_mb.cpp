#include <intel-ipsec-mb.h>

#include <array>
#include <memory>

#include "common/check.h"
#include "common/crypto/aead_backends.h"
#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {
namespace {

const std::uint8_t* raw(const std::byte* data) { return reinterpret_cast<const std::uint8_t*>(data); }
std::uint8_t* raw(std::byte* data) { return reinterpret_cast<std::uint8_t*>(data); }

// The direct calls take all their state by argument (key and context, both ours); of the manager they use only the
// function pointers, which nothing writes after init_mb_mgr_auto. So one manager serves every thread, unlike with the
// job interface, whose queues live in the manager.
class IpsecMbKey final : public AeadKey {
 public:
  IpsecMbKey(const IMB_MGR* manager, std::span<const std::byte, aead_key_size> key) : manager_(manager) {
    IMB_AES256_GCM_PRE(manager_, raw(key.data()), &key_);
  }
  ~IpsecMbKey() override {
    wipe(std::as_writable_bytes(std::span{&key_, 1}));
    wipe(std::as_writable_bytes(std::span{&context_, 1}));
  }

  void seal(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
            std::byte* out) override {
    IMB_AES256_GCM_ENC(manager_, &key_, &context_, raw(out), raw(plaintext.data()), plaintext.size(), raw(nonce.data()),
                       raw(aad.data()), aad.size(), raw(out + plaintext.size()), aead_tag_size);
  }

  bool open(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> sealed,
            std::byte* out) override {
    if (sealed.size() < aead_tag_size) return false;
    const auto ciphertext = sealed.first(sealed.size() - aead_tag_size);
    std::array<std::byte, aead_tag_size> tag{};
    IMB_AES256_GCM_DEC(manager_, &key_, &context_, raw(out), raw(ciphertext.data()), ciphertext.size(),
                       raw(nonce.data()), raw(aad.data()), aad.size(), raw(tag.data()), aead_tag_size);
    // The library computes the tag and leaves the verdict to us: all 16 bytes, in constant time.
    if (constant_time_equal(tag, sealed.last(aead_tag_size))) return true;
    wipe({out, ciphertext.size()});
    return false;
  }

 private:
  const IMB_MGR* manager_;
  gcm_key_data key_;  // 64-byte aligned by its type, which aligned new respects
  gcm_context_data context_{};
};

class IpsecMbBackend final : public AeadBackend {
 public:
  IpsecMbBackend(const IMB_MGR* manager, std::string_view name) : manager_(manager), name_(name) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] AeadAlgorithm algorithm() const override { return AeadAlgorithm::aes_256_gcm; }
  [[nodiscard]] std::unique_ptr<AeadKey> make_key(std::span<const std::byte, aead_key_size> key) const override {
    return std::make_unique<IpsecMbKey>(manager_, key);
  }

 private:
  const IMB_MGR* manager_;
  std::string_view name_;
};

const AeadBackend* make_backend(IpsecMbCode code) {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) return nullptr;
  IMB_ARCH arch = IMB_ARCH_AVX;
  std::string_view name = "ipsec-mb";
  switch (code) {
    case IpsecMbCode::best:
      init_mb_mgr_auto(manager, &arch);
      break;
    case IpsecMbCode::avx2:
      init_mb_mgr_avx2(manager);
      name = "ipsec-mb-avx2";
      break;
    case IpsecMbCode::avx:
      init_mb_mgr_avx(manager);
      name = "ipsec-mb-avx";
      break;
  }
  // Without these it would emulate AES in software: slower than OpenSSL, and not in constant time.
  constexpr std::uint64_t needed =
      IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_AVX | IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;
  if (imb_get_errno(manager) != 0 || arch == IMB_ARCH_NONE || arch == IMB_ARCH_NOAESNI ||
      (manager->features & needed) != needed) {
    free_mb_mgr(manager);
    return nullptr;
  }
  return new IpsecMbBackend(manager, name);
}

}  // namespace

const AeadBackend* ipsec_mb_backend(IpsecMbCode code) {
  switch (code) {
    case IpsecMbCode::best: {
      static const AeadBackend* const best = make_backend(code);
      return best;
    }
    case IpsecMbCode::avx2: {
      static const AeadBackend* const avx2 = make_backend(code);
      return avx2;
    }
    case IpsecMbCode::avx: {
      static const AeadBackend* const avx = make_backend(code);
      return avx;
    }
  }
  return nullptr;
}

}  // namespace penstock::crypto
