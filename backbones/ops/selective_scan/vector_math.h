// Exponentials and their kin on vectors, without calls of functions and without fast-math. The relative error of an
// exponential is about one unit in the last place, and half a unit per unit of the exponent where that is large.

#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <array>
#include <cmath>
#include <cstdint>

namespace vector_math {

using at::vec::fmadd;
using at::vec::Vectorized;

constexpr double log2_e = 1.44269504088896340736;
constexpr double ln_2 = 0.69314718055994530942;

template <typename T>
struct Format;

template <>
struct Format<float> {
  using Bits = int32_t;
  static constexpr int mantissa = 23;
  static constexpr float shifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr float least = -126.0f, most = 128.0f;
  // (2^r - 1) / r on [-1/2, 1/2], highest power first. Source: Cephes, exp2f.c.
  static constexpr std::array<float, 6> power = {1.535336188319500e-4f, 1.339887440266574e-3f, 9.618437357674640e-3f,
                                                 5.550332471162809e-2f, 2.402264791363012e-1f, 6.931472028550421e-1f};
  static constexpr int log1p_terms = 7;
};

template <>
struct Format<double> {
  using Bits = int64_t;
  static constexpr int mantissa = 52;
  static constexpr double shifter = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double least = -1022.0, most = 1024.0;
  // Taylor's series, ln(2)^k / k!; what is cut off is below 1e-17.
  static constexpr std::array<double, 13> power = [] {
    std::array<double, 13> found{};
    double term = 1;
    for (int k = 1; k <= 13; ++k) found[13 - k] = term = term * ln_2 / k;
    return found;
  }();
  static constexpr int log1p_terms = 17;
};

// 2^(a b), which is 0 where it would be below the smallest normal number.
template <typename T>
inline Vectorized<T> exp2_of_product(const Vectorized<T>& a, const Vectorized<T>& b) {
  using F = Format<T>;
#if defined(CPU_CAPABILITY_AVX512)
  const auto exponent = a * b;
  Vectorized<T> rest;
  if constexpr (std::is_same_v<T, float>)
    rest = _mm512_reduce_ps(exponent, 0);
  else
    rest = _mm512_reduce_pd(exponent, 0);
#else
  const Vectorized<T> shifter(F::shifter);
  const auto exponent = at::vec::clamp(a * b, Vectorized<T>(F::least), Vectorized<T>(F::most));
  const auto shifted = exponent + shifter;
  const auto rest = exponent - (shifted - shifter);
#endif
  Vectorized<T> series(F::power[0]);
#pragma GCC unroll 16
  for (size_t k = 1; k < F::power.size(); ++k) series = fmadd(series, rest, Vectorized<T>(F::power[k]));
  series = fmadd(series, rest, Vectorized<T>(T(1)));
#if defined(CPU_CAPABILITY_AVX512)
  const auto whole = exponent - rest;
  if constexpr (std::is_same_v<T, float>)
    return Vectorized<T>(_mm512_scalef_ps(series, whole));
  else
    return Vectorized<T>(_mm512_scalef_pd(series, whole));
#else
  // The lowest bits of `shifted` are the whole number, and belong where a number has its exponent.
  using Bits = typename F::Bits;
  const auto whole = at::vec::cast<Bits>(shifted) << Vectorized<Bits>(F::mantissa);
  return at::vec::cast<T>(at::vec::cast<Bits>(series) + whole);
#endif
}

template <typename T>
inline Vectorized<T> exp(const Vectorized<T>& x) {
  return exp2_of_product(x, Vectorized<T>(T(log2_e)));
}

// log(1 + w) for w in [0, 1], as 2 artanh(w / (2 + w)): exact to the last places also where w is tiny.
template <typename T>
inline Vectorized<T> log1p_of_fraction(const Vectorized<T>& w) {
  const auto s = w / (w + Vectorized<T>(T(2)));
  const auto square = s * s;
  constexpr int terms = Format<T>::log1p_terms;
  Vectorized<T> series(T(1) / T(2 * terms + 1));
#pragma GCC unroll 32
  for (int k = terms - 1; k > 0; --k) series = fmadd(series, square, Vectorized<T>(T(1) / T(2 * k + 1)));
  const auto twice = s + s;
  return fmadd(twice * square, series, twice);
}

template <typename T>
inline Vectorized<T> softplus(const Vectorized<T>& x) {
  return at::vec::maximum(x, Vectorized<T>(T(0))) + log1p_of_fraction(exp(x.abs().neg()));
}

template <typename T>
inline Vectorized<T> sigmoid(const Vectorized<T>& x) {
  return Vectorized<T>(T(1)) / (Vectorized<T>(T(1)) + exp(x.neg()));
}

// d (x sigmoid(x)) / dx, given the sigmoid.
template <typename T>
inline Vectorized<T> silu_slope(const Vectorized<T>& x, const Vectorized<T>& sigmoid) {
  return sigmoid * fmadd(x, Vectorized<T>(T(1)) - sigmoid, Vectorized<T>(T(1)));
}

}  // namespace vector_math
