#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/receipt/receipt_list.h"
#include "control/transfer/landing_names.h"
#include "dataplane/storage/spill_sorter.h"
#include "dataplane/storage/verdict.h"

namespace penstock::control {

/// What finished at one end of a transfer, on its way to the receipt's list: reports come in any order, while the
/// transfer runs, and leave ascending by the path under which they landed. Each end makes its list of what it read or
/// wrote (control/receipt/README).
/// Memory: that of a SpillSorter. Threads: keep() on storage's, the rest on the owner's, all under one mutex.
class ReceiptSpool {
 public:
  /// `directory` is borrowed: for the spill files; -1: memory. `landing.landed_as` is not used.
  ReceiptSpool(int directory, LandingNames landing);

  /// For storage::KeepReport.
  [[nodiscard]] Status keep(const storage::FileReport& report);
  /// Sink: the name that a single file landed as; empty when there is none.
  [[nodiscard]] std::string landed_as() const;
  /// Everything kept so far but `left_out`, by entry; each path once. Takes time by the number of files.
  [[nodiscard]] Result<ReceiptList> list(std::string_view landed_as, const std::set<std::uint64_t>& left_out);
  /// The same in memory.
  [[nodiscard]] Result<std::vector<ReceiptLine>> lines(std::string_view landed_as,
                                                       const std::set<std::uint64_t>& left_out);

 private:
  template <class Use>
  [[nodiscard]] Status for_each(std::string_view landed_as, const std::set<std::uint64_t>& left_out, Use use);

  const int directory_;
  const LandingNames landing_;
  mutable std::mutex mutex_;
  storage::SpillSorter sorter_;
  std::string landed_as_;
};

/// The storage's way to a spool; empty when there is none.
[[nodiscard]] storage::KeepReport keep_in(std::shared_ptr<ReceiptSpool> receipts);

}  // namespace penstock::control
