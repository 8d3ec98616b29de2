#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "common/bytes/view.h"
#include "common/path/beneath.h"
#include "common/random.h"
#include "dataplane/storage/crc32c.h"
#include "dataplane/storage/journal_store.h"
#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

TransferIdentity identity(std::uint8_t number) {
  TransferIdentity id;
  id.transfer.fill(std::byte{number});
  id.resume_key.fill(std::byte{number});
  id.owner.fill(std::byte{7});
  id.destination = std::string{"/dest\n\xff"};
  id.base = std::string{"/"};
  return id;
}

const std::string partial_name = ".penstock-00112233445566778899aabbccddeeff.part";

digest::Xxh3 some_digest(std::uint8_t number) {
  digest::Xxh3 digest;
  digest.bytes.fill(std::byte{number});
  return digest;
}

std::vector<JournalRecord> sample_records() {
  return {identity(1),
          PartialIntended{.path = "d/small", .partial_name = partial_name},
          PartialCreated{
              .path = "d/big", .partial_name = partial_name, .source = {}, .size = 10 * MiB, .device = 3, .inode = 4},
          BlocksDurable{.path = "d/big", .first_block = 2, .digests = {some_digest(1), some_digest(2)}},
          BlocksLost{.path = "d/big", .blocks = {3, 1}},
          Published{.path = "d/small",
                    .source = {},
                    .size = 5,
                    .device = 3,
                    .inode = 9,
                    .mtime_ns = -5,
                    .digest = some_digest(9)},
          BlocksDurable{.path = "d/big", .first_block = 9, .digests = {some_digest(5)}},
          PartialDropped{.path = "d/big"},
          Finished{}};
}

std::vector<std::byte> file_of(const std::vector<JournalRecord>& records) {
  const auto magic = bytes::as_bytes(journal_magic);
  std::vector<std::byte> file(magic.begin(), magic.end());
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto bytes = encode_journal_record(i, records[i]);
    file.insert(file.end(), bytes.begin(), bytes.end());
  }
  return file;
}

/// What a journal's bytes say; they must outlive it.
std::optional<JournalIndex> read(std::span<const std::byte> file) {
  auto index = JournalIndex::build(bytes_in_memory(file), -1);
  REQUIRE(index.ok());
  return std::move(*index);
}

JournalFile file_at(const JournalIndex& index, const std::string& path) {
  auto found = index.find(path);
  REQUIRE(found.ok());
  return found->value_or(JournalFile{});
}

JournalStore::OpenBase base_is(const std::string& path) {
  return [path](const TransferIdentity&) { return path::open_trusted_directory(path); };
}

}  // namespace

TEST_CASE("crc-32c: the check value of RFC 3720") {
  CHECK(crc32c(bytes::as_bytes("123456789")) == 0xe3069283);
  const std::vector<std::byte> zeros(32);
  CHECK(crc32c(zeros) == 0x8a9136aa);
}

TEST_CASE("journal: what was written is what is read") {
  auto records = sample_records();
  records.resize(7);
  const auto bytes = file_of(records);
  const auto index = read(bytes);
  REQUIRE(index);
  CHECK(index->identity() == identity(1));
  CHECK(!index->finished());
  const auto big = file_at(*index, "d/big");
  REQUIRE(big.partial);
  CHECK(big.partial->inode == 4);
  CHECK(big.durable.size() == 2);
  CHECK(big.durable.at(2) == some_digest(1));
  CHECK(big.durable.at(9) == some_digest(5));
  const auto small = file_at(*index, "d/small");
  CHECK(small.intended == std::vector<std::string>{partial_name});
  CHECK(small.published->digest == digest::Digest{some_digest(9)});
  const auto all_bytes = file_of(sample_records());
  const auto all = read(all_bytes);
  CHECK(all->finished());
  CHECK(!*all->find("d/big"));
  CHECK(!*all->find("d/unknown"));
}

TEST_CASE("journal: cut at any byte, exactly the whole records before it count") {
  const auto records = sample_records();
  const auto file = file_of(records);
  std::vector<std::size_t> ends{journal_magic.size()};
  for (std::size_t i = 0; i < records.size(); ++i)
    ends.push_back(ends.back() + encode_journal_record(i, records[i]).size());
  for (std::size_t size = 0; size <= file.size(); ++size) {
    const auto whole = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), size) - ends.begin());
    const auto index = read(std::span{file}.first(size));
    if (whole < 2) {
      CHECK(!index);
      continue;
    }
    REQUIRE(index);
    CHECK(index->records() == whole - 1);
    CHECK(index->valid_bytes() == ends[whole - 1]);
    CHECK(file_at(*index, "d/big").durable.contains(9) == (whole - 1 == 7));
  }
}

TEST_CASE("journal: any flipped bit ends it there") {
  const auto records = sample_records();
  const auto file = file_of(records);
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const auto bit : {std::byte{1}, std::byte{0x80}}) {
      auto damaged = file;
      damaged[at] ^= bit;
      const auto index = read(damaged);
      if (index) CHECK(index->valid_bytes() <= at);
    }
  }
}

TEST_CASE("journal: malformed records end it, and one that contradicts its path's earlier ones ends that path") {
  const auto valid_records = [](const std::vector<JournalRecord>& records) {
    const auto bytes = file_of(records);
    const auto index = read(bytes);
    return index ? index->records() : 0;
  };
  CHECK(valid_records({identity(1), identity(1)}) == 1);
  CHECK(valid_records({Finished{}}) == 0);
  CHECK(valid_records({identity(1), PartialIntended{.path = "../f", .partial_name = partial_name}}) == 1);
  CHECK(valid_records({identity(1), PartialIntended{.path = "f", .partial_name = "passwd"}}) == 1);
  CHECK(valid_records(
            {identity(1),
             PartialCreated{.path = "f", .partial_name = "../x", .source = {}, .size = 1, .device = 1, .inode = 1}}) ==
        1);

  const PartialCreated created{
      .path = "f", .partial_name = partial_name, .source = {}, .size = 2 * MiB, .device = 1, .inode = 1};
  const auto durable_blocks = [](const std::vector<JournalRecord>& records) {
    const auto bytes = file_of(records);
    return file_at(*read(bytes), "f").durable.size();
  };
  const BlocksDurable fits{.path = "f", .first_block = 1, .digests = {some_digest(1)}};
  const BlocksDurable beyond{.path = "f", .first_block = 2, .digests = {some_digest(1)}};
  const BlocksDurable other{.path = "f", .first_block = 0, .digests = {some_digest(1)}};
  CHECK(durable_blocks({identity(1), created, fits, other}) == 2);
  CHECK(durable_blocks({identity(1), created, fits, beyond, other}) == 1);
  CHECK(durable_blocks({identity(1), fits}) == 0);
}

TEST_CASE("journal index: of many files each is found by its path, and what is settled is not left over") {
  const ScratchDirectory scratch;
  const auto directory = scratch.open();
  constexpr int files = 3000;  // several pages of the index
  std::vector<JournalRecord> records{identity(1)};
  const auto path = [](int i) { return "d" + std::to_string(i % 7) + "/" + std::to_string(i); };
  for (int i = 0; i < files; ++i) records.push_back(PartialIntended{.path = path(i), .partial_name = partial_name});
  for (int i = 0; i < files; i += 2) {
    records.push_back(Published{.path = path(i),
                                .source = {},
                                .size = static_cast<std::uint64_t>(i),
                                .device = 1,
                                .inode = static_cast<std::uint64_t>(i),
                                .mtime_ns = 0,
                                .digest = some_digest(1)});
  }
  const auto bytes = file_of(records);
  for (const int spill : {-1, directory.get()}) {
    auto index = JournalIndex::build(bytes_in_memory(bytes), spill);
    REQUIRE((index.ok() && *index));
    for (int i = 0; i < files; ++i) {
      const auto file = file_at(**index, path(i));
      CHECK(file.intended.size() == 1);
      CHECK((file.published && file.published->size == static_cast<std::uint64_t>(i)) == (i % 2 == 0));
      if (i % 3 == 0) (*index)->settle(path(i));
    }
    std::set<std::string> left;
    REQUIRE((*index)->for_each_left([&](const std::string& name, const JournalFile&) { left.insert(name); }).ok());
    CHECK(left.size() == files - files / 3);
    CHECK(!left.contains(path(0)));
    CHECK(left.contains(path(1)));
    CHECK(!*(*index)->find(path(0)));
  }
  CHECK(std::filesystem::is_empty(scratch.path()));
}

TEST_CASE("journal store: a transfer is found again by owner and resume key, and by id, by nobody else") {
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j"));
  {
    auto journal = store->create(identity(1));
    REQUIRE(journal.ok());
    (*journal)->append(PartialIntended{.path = "f", .partial_name = partial_name});
    REQUIRE((*journal)->write().ok());
    CHECK(store->create(identity(1)).error().code == ErrorCode::FILE_EXISTS);
    CHECK(store->find(identity(1).owner, identity(1).resume_key).error().code == ErrorCode::TRANSFER_ACTIVE);
    CHECK(store->find(identity(1).owner, identity(1).transfer).error().code == ErrorCode::TRANSFER_ACTIVE);
  }
  CHECK(!*store->find(identity(2).owner, identity(2).resume_key));
  OwnerId stranger{};
  CHECK(!*store->find(stranger, identity(1).resume_key));
  CHECK(!*store->find(stranger, identity(1).transfer));
  auto found = store->find(identity(1).owner, identity(1).resume_key);
  REQUIRE((found.ok() && *found));
  CHECK(file_at((*found)->earlier(), "f").intended.size() == 1);
  REQUIRE((*found)->remove().ok());
  found->reset();
  CHECK(!*store->find(identity(1).owner, identity(1).transfer));
  struct stat status {};
  REQUIRE(::stat((scratch / "j").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE("journal store: a torn tail is cut before anything is appended") {
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j"));
  auto journal = std::move(*store->create(identity(1)));
  journal.reset();
  const auto path = fs::directory_iterator(scratch / "j")->path().string();
  write_file(path, read_file(path) + "torn");
  journal = std::move(*store->find(identity(1).owner, identity(1).transfer));
  REQUIRE(journal);
  journal->append(PartialIntended{.path = "f", .partial_name = partial_name});
  REQUIRE(journal->write().ok());
  journal.reset();
  journal = std::move(*store->find(identity(1).owner, identity(1).transfer));
  REQUIRE(journal);
  CHECK(file_at(journal->earlier(), "f").intended.size() == 1);
}

TEST_CASE("journal store: an unknown version is no journal") {
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j"));
  (void)std::move(*store->create(identity(1)));
  const auto path = fs::directory_iterator(scratch / "j")->path().string();
  auto bytes = read_file(path);
  bytes[7] = '2';
  write_file(path, bytes);
  CHECK(!*store->find(identity(1).owner, identity(1).resume_key));
  CHECK(store->create(identity(1)).ok());
}

TEST_CASE("journal store: what is abandoned expires with its partials, and only with those that are its own") {
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j"));
  fs::create_directory(scratch / "root");
  const auto name = [](char digit) {
    std::string text = ".penstock-";
    text.append(32, digit);
    return text.append(".part");
  };
  for (const char digit : {'1', '2', '3', '4', '5'}) write_file(scratch / ("root/" + name(digit)), "partial");
  fs::create_hard_link(scratch / ("root/" + name('3')), scratch / "root/linked");
  struct stat status {};
  REQUIRE(::stat((scratch / ("root/" + name('2'))).c_str(), &status) == 0);
  {
    auto journal = std::move(*store->create(identity(1)));
    const auto created = [&](const std::string& path, char digit, std::uint64_t inode) {
      journal->append(PartialCreated{
          .path = path, .partial_name = name(digit), .source = {}, .size = 7, .device = status.st_dev, .inode = inode});
    };
    journal->append(PartialIntended{.path = "one", .partial_name = name('1')});
    created("two", '2', status.st_ino);
    journal->append(PartialIntended{.path = "three", .partial_name = name('3')});  // has a second link
    created("four", '4', status.st_ino);                                           // another inode
    REQUIRE(journal->write().ok());
    CHECK(*store->expire(std::int64_t{1} << 62, partial_ttl_default, base_is(scratch / "root")) == 0);  // in use
  }
  CHECK(*store->expire(0, partial_ttl_default, base_is(scratch / "root")) == 0);  // too young
  CHECK(store->list()->size() == 1);
  CHECK(*store->expire(std::int64_t{1} << 62, partial_ttl_default, base_is(scratch / "root")) == 2);
  CHECK(store->list()->empty());
  CHECK(!exists(scratch / ("root/" + name('1'))));
  CHECK(!exists(scratch / ("root/" + name('2'))));
  for (const char digit : {'3', '4', '5'}) CHECK(exists(scratch / ("root/" + name(digit))));
}

TEST_CASE("journal: after a failed write it takes nothing more") {
  struct Failing final : FileCalls {
    bool fail = false;
    ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) override {
      return fail ? -ENOSPC : FileCalls::pwrite(fd, data, offset);
    }
  } calls;
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j", calls));
  auto journal = std::move(*store->create(identity(1)));
  calls.fail = true;
  journal->append(Finished{});
  CHECK(journal->write().error().code == ErrorCode::NO_SPACE);
  calls.fail = false;
  CHECK(!journal->write().ok());
}

}  // namespace penstock::storage::test
