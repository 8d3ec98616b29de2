#pragma once

// Teaches doctest to print our types: include it after <doctest/doctest.h> where checks compare them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <optional>
#include <string>

#include "common/bytes/hex.h"
#include "common/bytes/interval_set.h"
#include "common/crypto/aead.h"
#include "common/digest/digest.h"
#include "common/error.h"
#include "common/units.h"
#include "common/wire_error.h"

namespace doctest {

#define PENSTOCK_PRINTER(Type, expression)                      \
  template <>                                                   \
  struct StringMaker<Type> {                                    \
    static String convert(const Type& value) {                  \
      const std::string text = expression;                      \
      return {text.data(), static_cast<unsigned>(text.size())}; \
    }                                                           \
  }

PENSTOCK_PRINTER(std::string, value);
PENSTOCK_PRINTER(std::string_view, std::string{value});
PENSTOCK_PRINTER(penstock::PacketNumber, "packet " + std::to_string(value.value));
PENSTOCK_PRINTER(penstock::TransferOffset, "offset " + std::to_string(value.value));
PENSTOCK_PRINTER(penstock::KeyEpoch, "epoch " + std::to_string(value.value));
PENSTOCK_PRINTER(penstock::ConnectionId, "connection " + std::to_string(value.value));
PENSTOCK_PRINTER(penstock::TransferRange, fmt::format("[{}, {})", value.begin.value, value.end.value));
PENSTOCK_PRINTER(penstock::DataRate, std::to_string(value.bits_per_second()) + " bit/s");
PENSTOCK_PRINTER(penstock::Duration, std::to_string(value.count()) + " ns");
PENSTOCK_PRINTER(penstock::TimePoint, "time " + std::to_string(value.time_since_epoch().count()) + " ns");
PENSTOCK_PRINTER(penstock::ErrorCode, std::string{penstock::error_traits(value).name});
PENSTOCK_PRINTER(penstock::Error, std::string{penstock::error_traits(value.code).name} + ": " + value.message);
PENSTOCK_PRINTER(penstock::WireError, std::string{penstock::to_string(value)});
PENSTOCK_PRINTER(penstock::bytes::Interval, fmt::format("[{}, {})", value.begin, value.end));
PENSTOCK_PRINTER(penstock::bytes::IntervalSet, penstock::bytes::to_string(value));
PENSTOCK_PRINTER(penstock::crypto::AeadAlgorithm, std::string{penstock::crypto::to_string(value)});
PENSTOCK_PRINTER(penstock::digest::Digest, value.to_string());
PENSTOCK_PRINTER(penstock::digest::Xxh3, penstock::bytes::to_hex(value.bytes));
PENSTOCK_PRINTER(penstock::digest::Sha256, penstock::bytes::to_hex(value.bytes));

#undef PENSTOCK_PRINTER

template <class T>
struct StringMaker<std::optional<T>> {
  static String convert(const std::optional<T>& value) { return value ? toString(*value) : String{"nullopt"}; }
};

}  // namespace doctest
