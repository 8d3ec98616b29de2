#include "dataplane/storage/slab_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "common/check.h"

namespace penstock::storage {

namespace {

constexpr std::size_t huge_page_size = 2 * MiB;

std::uint32_t pop_lowest(std::vector<std::uint32_t>& heap) {
  std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
  const auto lowest = heap.back();
  heap.pop_back();
  return lowest;
}

void push(std::vector<std::uint32_t>& heap, std::uint32_t index) {
  heap.push_back(index);
  std::push_heap(heap.begin(), heap.end(), std::greater<>{});
}

}  // namespace

struct SlabPool::Account {
  std::size_t guaranteed = 0;
  std::size_t in_use = 0;
  std::size_t demand = 0;
  bool open = false;
};

Slab::Slab(Slab&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      account_(other.account_),
      index_(other.index_),
      data_(std::exchange(other.data_, nullptr)) {}

Slab& Slab::operator=(Slab&& other) noexcept {
  if (this != &other) {
    reset();
    pool_ = std::exchange(other.pool_, nullptr);
    account_ = other.account_;
    index_ = other.index_;
    data_ = std::exchange(other.data_, nullptr);
  }
  return *this;
}

void Slab::reset() {
  if (pool_ == nullptr) return;
  std::exchange(pool_, nullptr)->give_back(account_, index_);
  data_ = nullptr;
}

SlabAccount::SlabAccount(SlabAccount&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), id_(other.id_) {}
SlabAccount::~SlabAccount() {
  if (pool_ != nullptr) pool_->close_account(id_);
}
Slab SlabAccount::take() { return pool_->take(id_); }
std::size_t SlabAccount::available() const { return pool_->available(id_); }
std::size_t SlabAccount::part() const { return pool_->part(id_); }
std::size_t SlabAccount::in_use() const { return pool_->in_use(id_); }
void SlabAccount::set_bandwidth_delay_product(std::uint64_t bytes) {
  const std::uint64_t capped = std::min<std::uint64_t>(bytes, pool_->config_.slabs_max * slab_bytes);
  pool_->set_demand(id_, static_cast<std::size_t>(2 * capped / slab_bytes));
}

SlabPool::SlabPool(const SlabPoolConfig& config) : config_(config) {
  PENSTOCK_CHECK(config_.guaranteed > 0 && config_.slabs_max >= config_.guaranteed + config_.shared);
  // Whole huge pages, and room to align the first; untouched address space costs nothing.
  reserved_bytes_ = (config_.slabs_max + 1) / 2 * huge_page_size + huge_page_size;
  void* const memory =
      ::mmap(nullptr, reserved_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  PENSTOCK_CHECK(memory != MAP_FAILED);
  const auto skip = huge_page_size - reinterpret_cast<std::uintptr_t>(memory) % huge_page_size;
  base_ = static_cast<std::byte*>(memory);
  if (skip != huge_page_size) {
    ::munmap(base_, skip);
    base_ += skip;
    reserved_bytes_ -= skip;
  }
  // Advice: a kernel that does not know it changes nothing.
  if (config_.huge_pages) (void)::madvise(base_, reserved_bytes_, MADV_HUGEPAGE);
  cold_free_.reserve(config_.slabs_max);
  for (std::uint32_t i = 0; i < config_.slabs_max; ++i) cold_free_.push_back(i);  // ascending is a min-heap
}

SlabPool::~SlabPool() {
  PENSTOCK_CHECK(in_use_ == 0 && open_accounts_ == 0);
  ::munmap(base_, reserved_bytes_);
}

std::optional<SlabAccount> SlabPool::open_account(std::size_t lanes) {
  const std::lock_guard lock(mutex_);
  const std::size_t guaranteed = config_.guaranteed + lanes - 1;
  if (guaranteed_ + guaranteed + config_.shared > config_.slabs_max) return std::nullopt;
  std::uint32_t id = 0;
  if (free_accounts_.empty()) {
    id = static_cast<std::uint32_t>(accounts_.size());
    accounts_.emplace_back();
  } else {
    id = free_accounts_.back();
    free_accounts_.pop_back();
  }
  accounts_[id] = {.guaranteed = guaranteed, .in_use = 0, .demand = 0, .open = true};
  ++open_accounts_;
  guaranteed_ += guaranteed;
  return SlabAccount{this, id};
}

std::size_t SlabPool::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

std::size_t SlabPool::resident() const {
  const std::lock_guard lock(mutex_);
  return in_use_ + resident_free_.size();
}

std::size_t SlabPool::sharers() const {
  const std::lock_guard lock(mutex_);
  return open_accounts_;
}

std::size_t SlabPool::limit() const {
  const std::lock_guard lock(mutex_);
  return std::min(config_.slabs_max, guaranteed_ + shared_limit_locked());
}

std::size_t SlabPool::shared_limit_locked() const {
  return std::min(config_.shared + demand_, config_.slabs_max - guaranteed_);
}

std::size_t SlabPool::available_locked(const Account& account) const {
  const std::size_t own = account.in_use < account.guaranteed ? account.guaranteed - account.in_use : 0;
  const std::size_t limit = shared_limit_locked();
  const std::size_t shared = shared_in_use_ < limit ? limit - shared_in_use_ : 0;
  // After a large demand was taken back, its slabs may still be out: then even a guaranteed one can be a moment away.
  return std::min(own + shared, resident_free_.size() + cold_free_.size());
}

std::size_t SlabPool::available(std::uint32_t account) const {
  const std::lock_guard lock(mutex_);
  return available_locked(accounts_[account]);
}

std::size_t SlabPool::part(std::uint32_t account) const {
  const std::lock_guard lock(mutex_);
  // Of the shared alone: what paths added to the limit belongs to who brought it.
  return accounts_[account].guaranteed + accounts_[account].demand + config_.shared / open_accounts_;
}

std::size_t SlabPool::in_use(std::uint32_t account) const {
  const std::lock_guard lock(mutex_);
  return accounts_[account].in_use;
}

Slab SlabPool::take(std::uint32_t id) {
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[id];
  if (available_locked(account) == 0) return {};
  if (account.in_use >= account.guaranteed) ++shared_in_use_;
  ++account.in_use;
  ++in_use_;
  const auto index = pop_lowest(resident_free_.empty() ? cold_free_ : resident_free_);
  return Slab{this, id, index, base_ + std::size_t{index} * slab_bytes};
}

void SlabPool::give_back(std::uint32_t id, std::uint32_t index) {
  std::unique_lock lock(mutex_);
  auto& account = accounts_[id];
  PENSTOCK_CHECK(account.in_use > 0);
  --account.in_use;
  --in_use_;
  if (account.in_use >= account.guaranteed) --shared_in_use_;
  drop_if_unused_locked(id);
  // A busy pool keeps what it is about to need again; an idle one shrinks to idle_kept.
  if (resident_free_.size() < in_use_ + config_.idle_kept) {
    push(resident_free_, index);
    return;
  }
  lock.unlock();
  forget_memory(index);
  lock.lock();
  push(cold_free_, index);
}

void SlabPool::close_account(std::uint32_t id) {
  std::vector<std::uint32_t> surplus;
  {
    const std::lock_guard lock(mutex_);
    auto& account = accounts_[id];
    demand_ -= account.demand;
    account.demand = 0;
    account.open = false;
    drop_if_unused_locked(id);
    // What a crowd had stays resident while it is at work; the last of it is given up as the crowd goes.
    while (resident_free_.size() > in_use_ + config_.idle_kept) {
      surplus.push_back(resident_free_.back());  // of a heap in an array the last is no parent
      resident_free_.pop_back();
    }
  }
  for (const auto index : surplus) forget_memory(index);
  const std::lock_guard lock(mutex_);
  for (const auto index : surplus) push(cold_free_, index);
}

void SlabPool::forget_memory(std::uint32_t index) const {
  (void)::madvise(base_ + std::size_t{index} * slab_bytes, slab_bytes, MADV_DONTNEED);
}

void SlabPool::drop_if_unused_locked(std::uint32_t id) {
  if (accounts_[id].open || accounts_[id].in_use > 0) return;
  --open_accounts_;
  guaranteed_ -= accounts_[id].guaranteed;
  free_accounts_.push_back(id);
}

void SlabPool::set_demand(std::uint32_t id, std::size_t slabs) {
  const std::lock_guard lock(mutex_);
  demand_ = demand_ - accounts_[id].demand + slabs;
  accounts_[id].demand = slabs;
}

}  // namespace penstock::storage
