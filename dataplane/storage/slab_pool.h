#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::storage {

inline constexpr std::size_t slab_bytes = static_cast<std::size_t>(engine::slab_size);

class SlabPool;

/// One slab of memory, returned to its pool when dropped, from any thread. Contents are what the last user left.
class Slab {
 public:
  Slab() = default;
  Slab(Slab&& other) noexcept;
  Slab& operator=(Slab&& other) noexcept;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() { reset(); }

  explicit operator bool() const { return pool_ != nullptr; }
  /// slab_bytes of memory, aligned to 4 KiB. Requires: holds a slab.
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, slab_bytes}; }
  void reset();

 private:
  friend class SlabPool;
  friend class SlabAccount;
  Slab(SlabPool* pool, std::uint32_t account, std::uint32_t index, std::byte* data)
      : pool_(pool), account_(account), index_(index), data_(data) {}
  SlabPool* pool_ = nullptr;
  std::uint32_t account_ = 0;
  std::uint32_t index_ = 0;
  std::byte* data_ = nullptr;
};

/// What one transfer side may take from the pool: its guaranteed slabs always, more while the pool has some to share.
/// Outstanding slabs may outlive the account; the pool outlives all, the worker's queue of functors included.
class SlabAccount {
 public:
  SlabAccount(SlabAccount&& other) noexcept;
  SlabAccount& operator=(SlabAccount&&) = delete;
  SlabAccount(const SlabAccount&) = delete;
  SlabAccount& operator=(const SlabAccount&) = delete;
  ~SlabAccount();

  /// Empty when this account may have no more now. Never blocks. Threads: any.
  [[nodiscard]] Slab take();
  /// How many take() calls would succeed now, if nobody else took any. Threads: any.
  [[nodiscard]] std::size_t available() const;
  /// This account's part of the pool: its guaranteed slabs, those that its own bandwidth-delay product added, and an
  /// equal share of what is to be shared. It may take more, but should not keep more for convenience: others may want
  /// it. Threads: any.
  [[nodiscard]] std::size_t part() const;
  /// Slabs that it has taken, and that are not back. Threads: any.
  [[nodiscard]] std::size_t in_use() const;
  /// Outlives this. Threads: any.
  [[nodiscard]] const SlabPool& pool() const { return *pool_; }
  /// The measured bandwidth-delay product of the transfer: the pool's limit grows by twice as much, never past its
  /// slabs_max. Threads: any.
  void set_bandwidth_delay_product(std::uint64_t bytes);

 private:
  friend class SlabPool;
  SlabAccount(SlabPool* pool, std::uint32_t id) : pool_(pool), id_(id) {}
  SlabPool* pool_;
  std::uint32_t id_;
};

struct SlabPoolConfig {
  std::size_t shared = 32;       // slabs that any transfer may take beyond its guaranteed ones
  std::size_t guaranteed = 3;    // slabs of each account; with its bookkeeping at most 4 MiB a transfer
  std::size_t slabs_max = 1024;  // address space reserved, and the bound whatever the paths are like
  std::size_t idle_kept = 16;    // free slabs that stay resident for reuse; memory of the others goes back
  bool huge_pages = false;       // MADV_HUGEPAGE: fewer TLB misses, memory counted in 2 MiB steps
};

/// The process's slabs. Resident memory never exceeds
///   slab_bytes x min(slabs_max, shared + sum over accounts (guaranteed + lanes - 1 + 2 x bandwidth-delay product)).
/// One reservation of address space, handed out lowest slab first; a slab is faulted in once and reused.
/// Threads: any; one mutex, held for a few instructions.
class SlabPool {
 public:
  explicit SlabPool(const SlabPoolConfig& config = {});
  /// Requires: every slab and account is back.
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  /// A new transfer side; nullopt when slabs_max could not honour its guarantee: SERVER_BUSY. Each lane beyond the
  /// first is guaranteed a slab more.
  [[nodiscard]] std::optional<SlabAccount> open_account(std::size_t lanes = 1);
  /// Slabs taken and not yet returned.
  [[nodiscard]] std::size_t in_use() const;
  /// Slabs with memory behind them, those that are kept for reuse included.
  [[nodiscard]] std::size_t resident() const;
  /// Transfer sides that have an account: how many share whatever is to be shared.
  [[nodiscard]] std::size_t sharers() const;
  /// The most slabs that may be resident at the moment.
  [[nodiscard]] std::size_t limit() const;

 private:
  friend class Slab;
  friend class SlabAccount;
  struct Account;

  [[nodiscard]] Slab take(std::uint32_t account);
  [[nodiscard]] std::size_t part(std::uint32_t account) const;
  [[nodiscard]] std::size_t in_use(std::uint32_t account) const;
  [[nodiscard]] std::size_t available(std::uint32_t account) const;
  void give_back(std::uint32_t account, std::uint32_t index);
  void close_account(std::uint32_t account);
  void forget_memory(std::uint32_t index) const;
  void set_demand(std::uint32_t account, std::size_t slabs);
  [[nodiscard]] std::size_t available_locked(const Account& account) const;
  [[nodiscard]] std::size_t shared_limit_locked() const;
  void drop_if_unused_locked(std::uint32_t id);

  SlabPoolConfig config_;
  std::byte* base_ = nullptr;
  std::size_t reserved_bytes_ = 0;

  mutable std::mutex mutex_;
  std::vector<Account> accounts_;
  std::vector<std::uint32_t> free_accounts_;
  std::vector<std::uint32_t> resident_free_;  // min-heap by index
  std::vector<std::uint32_t> cold_free_;      // min-heap by index; no memory behind them
  std::size_t in_use_ = 0;
  std::size_t open_accounts_ = 0;
  std::size_t guaranteed_ = 0;     // to all open accounts
  std::size_t shared_in_use_ = 0;  // slabs beyond the guarantees
  std::size_t demand_ = 0;         // sum of 2 x bandwidth-delay product over accounts, in slabs
};

}  // namespace penstock::storage
