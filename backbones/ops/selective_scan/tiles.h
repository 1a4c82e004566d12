// Tiles `[steps, lanes]` of a tensor `[batch, length, dim]` with any strides, in any floating dtype, read and written
// in either direction along the sequence.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tiles {

using at::vec::Vectorized;

constexpr int64_t steps = ZOO_STEPS;  // rows of a tile, at most; compiled.py sets it

template <typename T>
constexpr int64_t lanes = Vectorized<T>::size();

template <typename T>
inline Vectorized<T> load(const T* from) {
  return Vectorized<T>::loadu(from);
}

struct Sequence {
  char* data;
  at::ScalarType type;
  int64_t item, sample, token, channel;

  explicit Sequence(const at::Tensor& t)
      : data(static_cast<char*>(t.data_ptr())),
        type(t.scalar_type()),
        item(t.element_size()),
        sample(t.stride(0)),
        token(t.stride(1)),
        channel(t.stride(2)) {}
};

// Where a tile lies: row 0 is `token`, and the next row one token on in `direction` (1 or -1).
struct Place {
  int64_t sample, token, direction, rows, channel, width;
};

// Rows of a sequence are far from each other, where no processor looks ahead by itself: this asks for one of the next
// chunk while the present one is read or written. Beyond the ends of a tensor it does nothing.
template <int writes, typename S>
inline void prefetch(const S* first, int64_t offset) {
#if defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(first) + offset * sizeof(S)), writes);
#endif
}

// Whole squares of a tile from memory in which tokens lie side by side, channels apart by `column`; returns the rows that
// it has read. A square crosses one line of every channel, so those of the next chunk are asked for as well.
template <typename T>
int64_t read_squares(const T* from, int64_t row, int64_t column, const Place& at, T* tile) {
  constexpr int64_t n = lanes<T>, line = 64 / sizeof(T);
  if (std::abs(row) != 1 || at.width < n) return 0;
  for (int64_t c = 0; c < n; ++c)
    for (int64_t r = 0; r < steps; r += line) prefetch<0>(from, c * column + (r + steps) * row);
  int64_t r = 0;
  for (; r + n <= at.rows; r += n) {
    // Against the sequence, the last token of a square comes first in memory, and memory fills the tile from below.
    const int64_t last = r + n - 1;
    at::vec::transpose_mxn<T, n, n>(from + (row > 0 ? r : -last), column, tile + (row > 0 ? r : last) * n, row * n);
  }
  return r;
}

template <typename T, typename S>
void read_rows(const S* from, int64_t row, int64_t column, const Place& at, T* tile) {
  constexpr int64_t n = lanes<T>;
  if (column == 1 && at.width == n) {
    for (int64_t r = 0; r < at.rows; ++r) {
      prefetch<0>(from, (r + steps) * row);
      if constexpr (std::is_same_v<T, S>)
        load(from + r * row).store(tile + r * n);
      else
        for (int64_t c = 0; c < n; ++c) tile[r * n + c] = static_cast<T>(from[r * row + c]);
    }
    return;
  }
  int64_t begin = 0;
  if constexpr (std::is_same_v<T, S>) begin = read_squares(from, row, column, at, tile);
  if (at.width < n) std::fill(tile, tile + at.rows * n, T(0));
  for (int64_t c = 0; c < at.width; ++c)
    for (int64_t r = begin; r < at.rows; ++r) tile[r * n + c] = static_cast<T>(from[r * row + c * column]);
}

template <typename T, typename S>
void write_rows(const T* tile, int64_t row, int64_t column, const Place& at, S* to) {
  constexpr int64_t n = lanes<T>;
  if (column == 1 && at.width == n) {
    for (int64_t r = 0; r < at.rows; ++r) {
      prefetch<1>(to, (r + steps) * row);
      if constexpr (std::is_same_v<T, S>)
        load(tile + r * n).store(to + r * row);
      else
        for (int64_t c = 0; c < n; ++c) to[r * row + c] = static_cast<S>(tile[r * n + c]);
    }
    return;
  }
  for (int64_t c = 0; c < at.width; ++c)
    for (int64_t r = 0; r < at.rows; ++r) to[r * row + c * column] = static_cast<S>(tile[r * n + c]);
}

// Calls `f` with a pointer to the first row, of the dtype that the sequence has.
template <typename F>
void with_type(const Sequence& s, const Place& at, F f) {
  char* first = s.data + s.item * (at.sample * s.sample + at.token * s.token + at.channel * s.channel);
  switch (s.type) {
    case at::kFloat:
      return f(reinterpret_cast<float*>(first));
    case at::kDouble:
      return f(reinterpret_cast<double*>(first));
    case at::kBFloat16:
      return f(reinterpret_cast<c10::BFloat16*>(first));
    case at::kHalf:
      return f(reinterpret_cast<c10::Half*>(first));
    default:
      TORCH_CHECK(false, "takes floating-point tensors, not ", s.type);
  }
}

template <typename T>
void read(const Sequence& s, const Place& at, T* tile) {
  with_type(s, at, [&](const auto* first) { read_rows(first, s.token * at.direction, s.channel, at, tile); });
}

template <typename T>
void write(const T* tile, const Place& at, const Sequence& s) {
  with_type(s, at, [&](auto* first) { write_rows(tile, s.token * at.direction, s.channel, at, first); });
}

// Numbers below the smallest normal one (1e-38 in float32) count as zero while this lives: they cost a processor a
// hundred times as much as others, and states fade through them wherever the input is zero for long.
class NoSubnormals {
#if defined(__x86_64__)
  unsigned before = _mm_getcsr();

 public:
  NoSubnormals() { _mm_setcsr(before | 0x8040); }
  ~NoSubnormals() { _mm_setcsr(before); }
#endif
};

}  // namespace tiles
