// Depthwise causal convolution and SiLU on a CPU: what compiled_conv.py describes, vectorised over channels.
//
// A task is a few neighbouring blocks of channels of one sample, whose tokens share lines of the cache. It walks along
// the sequence in chunks of `steps` tokens; a tile holds a chunk of one block with the tokens that it looks back to. The
// backward pass computes the convolution again, from the last chunk to the first, and hands the gradients of a chunk's
// first tokens on to the chunk before.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "tiles.h"
#include "vector_math.h"

namespace {

using namespace tiles;
using at::Tensor;
using at::vec::fmadd;

constexpr int64_t most_taps = 8;
constexpr int64_t blocks_of_a_task = 4;

template <typename T>
struct alignas(64) Rows {
  T values[(steps + most_taps) * lanes<T>];
  Vectorized<T> at(int64_t row) const { return load(values + row * lanes<T>); }
  void set(int64_t row, const Vectorized<T>& value) { value.store(values + row * lanes<T>); }
};

// Sizes, and the weights `[taps, dim]` in the dtype of accumulation.
template <typename T>
struct Conv {
  int64_t batch, length, dim, taps, blocks, spans, chunks;
  Tensor weight, bias;
  bool reverse;

  Conv(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, bool reverse)
      : batch(x.size(0)), length(x.size(1)), dim(x.size(2)), taps(w.size(1)),
        blocks((dim + lanes<T> - 1) / lanes<T>), spans((blocks + blocks_of_a_task - 1) / blocks_of_a_task), chunks((length + steps - 1) / steps), reverse(reverse) {
    const auto type = c10::CppTypeToScalarType<T>::value;
    weight = w.to(type).t().contiguous();
    bias = b ? b->to(type).contiguous() : at::zeros({dim}, weight.options());
  }

  // Chunk `index`, and `before` tokens ahead of it.
  Place place(int64_t sample, int64_t index, int64_t block, int64_t before = 0) const {
    const int64_t first = index * steps - before, rows = std::min(steps, length - index * steps) + before;
    const int64_t channel = block * lanes<T>, width = std::min(lanes<T>, dim - channel);
    return {sample, reverse ? length - 1 - first : first, reverse ? -1 : 1, rows, channel, width};
  }

  Vectorized<T> tap(int64_t j, const Place& at) const {
    return Vectorized<T>::loadu(weight.template const_data_ptr<T>() + j * dim + at.channel, at.width);
  }

  Vectorized<T> offset(const Place& at) const {
    return Vectorized<T>::loadu(bias.template const_data_ptr<T>() + at.channel, at.width);
  }

  // A chunk behind the `taps - 1` tokens ahead of it, zeros ahead of the first token.
  void read_chunk(const Sequence& x, int64_t sample, int64_t index, int64_t block, Rows<T>& tile) const {
    const int64_t before = taps - 1;
    if (index) return read(x, place(sample, index, block, before), tile.values);
    std::fill(tile.values, tile.values + before * lanes<T>, T(0));
    read(x, place(sample, index, block), tile.values + before * lanes<T>);
  }
};

template <typename T>
using Taps = std::array<Vectorized<T>, most_taps>;

// `count` is the number of taps where it is known when this is compiled, so that they stay in registers; else 0.
template <int count, typename T>
inline Vectorized<T> convolve(const Rows<T>& x, const Taps<T>& w, Vectorized<T> sum, int64_t row, int64_t taps) {
  if constexpr (count > 0) {
#pragma GCC unroll 8
    for (int j = 0; j < count; ++j) sum = fmadd(w[j], x.at(row + j), sum);
  } else {
    for (int64_t j = 0; j < taps; ++j) sum = fmadd(w[j], x.at(row + j), sum);
  }
  return sum;
}

// What a task keeps of each of its blocks.
template <typename T>
struct Block {
  int64_t index;
  Taps<T> w, d_weight;
  Vectorized<T> bias, d_bias;
  Rows<T> next;  // gradients before the SiLU of the first tokens of the chunk behind the one at hand

  Block(const Conv<T>& conv, int64_t index) : index(index), bias(conv.offset(conv.place(0, 0, index))), d_bias(T(0)) {
    for (int64_t j = 0; j < conv.taps; ++j) w[j] = conv.tap(j, conv.place(0, 0, index));
    d_weight.fill(Vectorized<T>(T(0)));
    std::fill(next.values, next.values + conv.taps * lanes<T>, T(0));
  }
};

template <typename T>
std::vector<Block<T>> blocks_of(const Conv<T>& conv, int64_t task) {
  std::vector<Block<T>> found;
  const int64_t first = task % conv.spans * blocks_of_a_task;
  for (int64_t index = first; index < std::min(first + blocks_of_a_task, conv.blocks); ++index)
    found.emplace_back(conv, index);
  return found;
}

template <int count, typename T>
void forward_task(const Conv<T>& conv, int64_t task, const Sequence& x, const Sequence& out) {
  const int64_t sample = task / conv.spans;
  const auto blocks = blocks_of(conv, task);
  Rows<T> tile, result;
  for (int64_t index = 0; index < conv.chunks; ++index)
    for (const auto& block : blocks) {
      const Place at = conv.place(sample, index, block.index);
      conv.read_chunk(x, sample, index, block.index, tile);
      for (int64_t r = 0; r < at.rows; ++r) {
        const auto sum = convolve<count>(tile, block.w, block.bias, r, conv.taps);
        result.set(r, sum * vector_math::sigmoid(sum));
      }
      write(result.values, at, out);
    }
}

// Gradients of x, and of weight and bias for this sample alone: `sums` is `[batch, taps + 1, dim]`.
template <int count, typename T>
void backward_task(const Conv<T>& conv, int64_t task, const Sequence& grad, const Sequence& x, const Sequence& grad_x,
                   T* sums) {
  const int64_t sample = task / conv.spans, before = conv.taps - 1;
  auto blocks = blocks_of(conv, task);
  Rows<T> tile, given, inner;
  for (int64_t index = conv.chunks - 1; index >= 0; --index)
    for (auto& block : blocks) {
      const Place at = conv.place(sample, index, block.index);
      conv.read_chunk(x, sample, index, block.index, tile);
      read(grad, at, given.values);
      for (int64_t r = 0; r < at.rows; ++r) {
        const auto sum = convolve<count>(tile, block.w, block.bias, r, conv.taps);
        const auto slope = given.at(r) * vector_math::silu_slope(sum, vector_math::sigmoid(sum));
        inner.set(r, slope);
        block.d_bias = block.d_bias + slope;
        for (int64_t j = 0; j < conv.taps; ++j) block.d_weight[j] = fmadd(slope, tile.at(r + j), block.d_weight[j]);
      }
      for (int64_t k = 0; k < before; ++k) inner.set(at.rows + k, block.next.at(k));
      for (int64_t r = 0; r < at.rows; ++r) {
        Vectorized<T> sum(T(0));
        for (int64_t j = 0; j < conv.taps; ++j) sum = fmadd(block.w[j], inner.at(r + before - j), sum);
        given.set(r, sum);
      }
      write(given.values, at, grad_x);
      for (int64_t k = 0; k < before; ++k) block.next.set(k, inner.at(k));
    }
  for (const auto& block : blocks) {
    const Place at = conv.place(sample, 0, block.index);
    T* to = sums + sample * (conv.taps + 1) * conv.dim + at.channel;
    for (int64_t j = 0; j < conv.taps; ++j) block.d_weight[j].store(to + j * conv.dim, at.width);
    block.d_bias.store(to + conv.taps * conv.dim, at.width);
  }
}

template <typename F>
void in_parallel(int64_t tasks, F f) {
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    const NoSubnormals guard;
    for (int64_t task = begin; task < end; ++task) f(task);
  });
}

template <typename T>
Tensor forward(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, bool reverse) {
  const Conv<T> conv(x, weight, bias, reverse);
  const Tensor out = at::empty(x.sizes(), x.options());
  const Sequence from(x), to(out);
  in_parallel(conv.batch * conv.spans, [&](int64_t task) {
    conv.taps == 4 ? forward_task<4>(conv, task, from, to) : forward_task<0>(conv, task, from, to);
  });
  return out;
}

template <typename T>
std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                            const std::optional<Tensor>& bias, bool reverse) {
  const Conv<T> conv(x, weight, bias, reverse);
  const Tensor grad_x = at::empty(x.sizes(), x.options());
  const Tensor sums = at::empty({conv.batch, conv.taps + 1, conv.dim}, conv.weight.options());
  T* to = sums.mutable_data_ptr<T>();
  const Sequence given(grad), from(x), target(grad_x);
  in_parallel(conv.batch * conv.spans, [&](int64_t task) {
    conv.taps == 4 ? backward_task<4>(conv, task, given, from, target, to)
                   : backward_task<0>(conv, task, given, from, target, to);
  });
  const Tensor total = sums.sum(0).to(weight.scalar_type());
  return {grad_x, total.narrow(0, 0, conv.taps).t().contiguous(), total.select(0, conv.taps).clone()};
}

Tensor compiled_conv_silu(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, bool reverse) {
  TORCH_CHECK(weight.size(1) <= most_taps, "takes at most ", most_taps, " taps, not ", weight.size(1));
  return (x.scalar_type() == at::kDouble ? forward<double> : forward<float>)(x, weight, bias, reverse);
}

std::tuple<Tensor, Tensor, Tensor> compiled_conv_silu_backward(const Tensor& grad, const Tensor& x,
                                                               const Tensor& weight, const std::optional<Tensor>& bias,
                                                               bool reverse) {
  return (x.scalar_type() == at::kDouble ? backward<double> : backward<float>)(grad, x, weight, bias, reverse);
}

TORCH_LIBRARY_IMPL(zoo, CPU, m) {
  m.impl("compiled_conv_silu", compiled_conv_silu);
  m.impl("compiled_conv_silu_backward", compiled_conv_silu_backward);
}

}  // namespace
