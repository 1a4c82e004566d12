// Exponentials and their kin on vectors, without calls of functions and without fast-math. The relative error of an
// exponential is at most two units in the last place, and half a unit per unit of the exponent where that is large.

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

#if defined(CPU_CAPABILITY_AVX512)
// 2^(k/32) for the first and the second half of k.
alignas(64) constexpr std::array<float, 32> fractions = [] {
  std::array<float, 32> found{};
  double power = 1;
  for (int k = 0; k < 32; ++k, power *= 1.0218971486541166) found[k] = static_cast<float>(power);
  return found;
}();

// 2^(a b) as 2^whole 2^(k/32) 2^rest: one instruction finds the middle factor, and the last needs two terms only. Of
// their error at most 5e-8 remains, because the third term's part that a straight line can follow is in the first.
inline Vectorized<float> exp2_of_product(const Vectorized<float>& a, const Vectorized<float>& b) {
  constexpr double cubic = ln_2 * ln_2 * ln_2 / 6, half = 1.0 / 64;
  const __m512 shifter = _mm512_set1_ps(393216.0f);  // 1.5 * 2^18: adding it rounds to whole parts of 32
  const __m512 shifted = _mm512_fmadd_ps(a, b, shifter), parts = _mm512_sub_ps(shifted, shifter);
  const __m512 rest = _mm512_fmsub_ps(a, b, parts);
  const __m512 fraction = _mm512_permutex2var_ps(
      _mm512_load_ps(fractions.data()), _mm512_castps_si512(shifted), _mm512_load_ps(fractions.data() + 16));
  const __m512 power = _mm512_scalef_ps(fraction, parts);  // by the whole part, rounded down
  const __m512 slope = _mm512_fmadd_ps(
      rest, _mm512_set1_ps(ln_2 * ln_2 / 2), _mm512_set1_ps(ln_2 + cubic * half * half * 3 / 4));
  return _mm512_fmadd_ps(_mm512_mul_ps(power, rest), slope, power);
}
#endif

// 2^(a b), which is 0 where it would be below the smallest normal number.
template <typename T>
inline Vectorized<T> exp2_of_product(const Vectorized<T>& a, const Vectorized<T>& b) {
  using F = Format<T>;
#if defined(CPU_CAPABILITY_AVX512)
  const auto exponent = a * b;
  const Vectorized<T> rest = _mm512_reduce_pd(exponent, 0);
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
  return Vectorized<T>(_mm512_scalef_pd(series, exponent - rest));
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
