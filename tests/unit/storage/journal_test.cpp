#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
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
  const auto replay = replay_journal(file_of(records));
  REQUIRE(replay);
  CHECK(replay->state.identity == identity(1));
  CHECK(!replay->state.finished);
  const auto& big = replay->state.files.at("d/big");
  REQUIRE(big.partial);
  CHECK(big.partial->inode == 4);
  CHECK(big.durable.size() == 2);
  CHECK(big.durable.at(2) == some_digest(1));
  CHECK(big.durable.at(9) == some_digest(5));
  const auto& small = replay->state.files.at("d/small");
  CHECK(small.intended == std::vector<std::string>{partial_name});
  CHECK(small.published->digest == digest::Digest{some_digest(9)});
  const auto all = replay_journal(file_of(sample_records()));
  CHECK(all->state.finished);
  CHECK(!all->state.files.contains("d/big"));
}

TEST_CASE("journal: cut at any byte, exactly the whole records before it count") {
  const auto records = sample_records();
  const auto file = file_of(records);
  std::vector<std::size_t> ends{journal_magic.size()};
  for (std::size_t i = 0; i < records.size(); ++i)
    ends.push_back(ends.back() + encode_journal_record(i, records[i]).size());
  for (std::size_t size = 0; size <= file.size(); ++size) {
    const auto whole = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), size) - ends.begin());
    const auto replay = replay_journal(std::span{file}.first(size));
    if (whole < 2) {
      CHECK(!replay);
      continue;
    }
    REQUIRE(replay);
    CHECK(replay->state.records == whole - 1);
    CHECK(replay->valid_bytes == ends[whole - 1]);
    const auto big = replay->state.files.find("d/big");
    CHECK((big != replay->state.files.end() && big->second.durable.contains(9)) == (whole - 1 == 7));
  }
}

TEST_CASE("journal: any flipped bit ends it there") {
  const auto records = sample_records();
  const auto file = file_of(records);
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const auto bit : {std::byte{1}, std::byte{0x80}}) {
      auto damaged = file;
      damaged[at] ^= bit;
      const auto replay = replay_journal(damaged);
      if (replay) CHECK(replay->valid_bytes <= at);
    }
  }
}

TEST_CASE("journal: records that contradict those before them are refused") {
  const auto valid_records = [](const std::vector<JournalRecord>& records) {
    const auto replay = replay_journal(file_of(records));
    return replay ? replay->state.records : 0;
  };
  const PartialCreated created{
      .path = "f", .partial_name = partial_name, .source = {}, .size = 2 * MiB, .device = 1, .inode = 1};
  CHECK(valid_records(
            {identity(1), created, BlocksDurable{.path = "f", .first_block = 1, .digests = {some_digest(1)}}}) == 3);
  CHECK(valid_records(
            {identity(1), created, BlocksDurable{.path = "f", .first_block = 2, .digests = {some_digest(1)}}}) == 2);
  CHECK(valid_records({identity(1), BlocksDurable{.path = "f", .first_block = 0, .digests = {some_digest(1)}}}) == 1);
  CHECK(valid_records({identity(1), identity(1)}) == 1);
  CHECK(valid_records({Finished{}}) == 0);
  CHECK(valid_records({identity(1), PartialIntended{.path = "../f", .partial_name = partial_name}}) == 1);
  CHECK(valid_records({identity(1), PartialIntended{.path = "f", .partial_name = "passwd"}}) == 1);
  CHECK(valid_records(
            {identity(1),
             PartialCreated{.path = "f", .partial_name = "../x", .source = {}, .size = 1, .device = 1, .inode = 1}}) ==
        1);
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
  CHECK((*found)->state().files.at("f").intended.size() == 1);
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
  CHECK(journal->state().files.contains("f"));
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
