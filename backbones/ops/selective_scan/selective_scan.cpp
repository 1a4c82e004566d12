// The selective scan on a CPU: what compiled.py describes, vectorised over channels.
//
// A task is a block of channels of one sample. It walks along the sequence in chunks of `steps` tokens: everything that
// depends on tokens is first brought into small tiles (tiles.h), and a few states at a time then pass over the chunk in
// registers. The backward pass reads the state before each chunk and computes the others again. Sums over channels are
// taken in a fixed order, whatever the number of threads: tasks write partial sums side by side.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "tiles.h"
#include "vector_math.h"

namespace {

using namespace tiles;
using at::Tensor;
using at::TensorList;
using at::vec::fmadd;

template <typename T>
using Vectors = std::vector<Vectorized<T>>;  // aligned, unlike a vector of numbers

constexpr int64_t tiles_of_a_task = 4;  // blocks of channels that share their sums over channels in a backward pass
constexpr int64_t per_direction = 7;  // u, delta, A, B, C, D, delta_bias
#if defined(CPU_CAPABILITY_AVX512) || defined(__aarch64__)
constexpr int together = 8;  // states that pass over a chunk together; there are 32 registers
#else
constexpr int together = 4;
#endif

struct Shape {
  int64_t batch, length, dim, state, groups, channels, blocks, chunks, spans;
};

template <typename T>
Shape shape_of(TensorList tensors) {
  const Tensor &u = tensors[0], &A = tensors[2], &B = tensors[3];
  const int64_t groups = B.size(2), channels = u.size(2) / groups;
  const int64_t blocks = (channels + lanes<T> - 1) / lanes<T>, chunks = (u.size(1) + steps - 1) / steps;
  const int64_t spans = (blocks + tiles_of_a_task - 1) / tiles_of_a_task;
  return {u.size(0), u.size(1), u.size(2), A.size(1), groups, channels, blocks, chunks, spans};
}

// One direction, with all that is not read through tiles contiguous and in the dtype of accumulation.
template <typename T>
struct Direction {
  Sequence u, delta;
  Tensor rates, B, C, D, bias;  // rates: A `[state, dim]`, for powers of two
  bool reverse;

  Direction(TensorList t, bool reverse) : u(t[0]), delta(t[1]), reverse(reverse) {
    const auto type = c10::CppTypeToScalarType<T>::value;
    rates = t[2].to(type).mul(vector_math::log2_e).t().contiguous();
    B = t[3].to(type).contiguous();
    C = t[4].to(type).contiguous();
    D = t[5].to(type).contiguous();
    bias = t[6].to(type).contiguous();
  }

  Place place(const Shape& s, int64_t sample, int64_t chunk, int64_t channel, int64_t width) const {
    const int64_t first = chunk * steps, rows = std::min(steps, s.length - first);
    return {sample, reverse ? s.length - 1 - first : first, reverse ? -1 : 1, rows, channel, width};
  }
};

template <typename T>
std::vector<Direction<T>> directions_of(TensorList tensors, c10::ArrayRef<bool> reverse) {
  std::vector<Direction<T>> found;
  for (size_t i = 0; i < reverse.size(); ++i)
    found.emplace_back(tensors.slice(i * per_direction, per_direction), reverse[i]);
  return found;
}

// B and C at the tokens of a chunk, from state `first` on: `row` values from one token to the next.
template <typename T>
struct Weights {
  const T *B, *C;
  int64_t row;

  Weights(const Direction<T>& d, const Shape& s, const Place& at, int64_t group, int64_t first) {
    const int64_t start = ((at.sample * s.length + at.token) * s.groups + group) * s.state + first;
    B = d.B.template const_data_ptr<T>() + start;
    C = d.C.template const_data_ptr<T>() + start;
    row = at.direction * s.groups * s.state;
  }
};

template <typename T>
struct alignas(64) Tile {
  T values[steps * lanes<T>];
  Vectorized<T> at(int64_t row) const { return load(values + row * lanes<T>); }
  void set(int64_t row, const Vectorized<T>& value) { value.store(values + row * lanes<T>); }
};

template <typename T>
struct Chunk {
  Tile<T> u, raw, delta, inflow, y;

  // u, the step before and after the softplus, delta u, and the part D u of y.
  void fill(const Direction<T>& d, const Place& at, bool softplus) {
    read(d.u, at, u.values);
    read(d.delta, at, raw.values);
    const auto D = Vectorized<T>::loadu(d.D.template const_data_ptr<T>() + at.channel, at.width);
    const auto bias = Vectorized<T>::loadu(d.bias.template const_data_ptr<T>() + at.channel, at.width);
    for (int64_t r = 0; r < at.rows; ++r) {
      const auto before = raw.at(r) + bias, step = softplus ? vector_math::softplus(before) : before;
      raw.set(r, before);
      delta.set(r, step);
      inflow.set(r, step * u.at(r));
      y.set(r, D * u.at(r));
    }
  }
};

// States after every token of a chunk, row 0 being the state before it, and decays.
template <typename T>
struct History {
  Vectorized<T> states[(steps + 1) * together], decays[steps * together];
};

// Advances `N` states over the tokens of a chunk and adds what they give to y.
template <int N, bool keep, typename T>
void advance(Chunk<T>& chunk, const T* rates, int64_t dim, const Weights<T>& w, const Place& at,
             Vectorized<T>* state, History<T>* history) {
  Vectorized<T> rate[N], h[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    rate[i] = Vectorized<T>::loadu(rates + i * dim, at.width);
    h[i] = state[i];
    if constexpr (keep) history->states[i] = h[i];
  }
  for (int64_t r = 0; r < at.rows; ++r) {
    const auto step = chunk.delta.at(r), inflow = chunk.inflow.at(r);
    auto y = chunk.y.at(r);
    const T *B = w.B + r * w.row, *C = w.C + r * w.row;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const auto decay = vector_math::exp2_of_product(step, rate[i]);
      h[i] = fmadd(decay, h[i], inflow * Vectorized<T>(B[i]));
      y = fmadd(Vectorized<T>(C[i]), h[i], y);
      if constexpr (keep) {
        history->decays[r * N + i] = decay;
        history->states[(r + 1) * N + i] = h[i];
      }
    }
    chunk.y.set(r, y);
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) state[i] = h[i];
}

// Calls `f(std::integral_constant<int, N>, first)` for every set of N states that pass over a chunk together.
template <typename F>
void in_sets(int64_t states, F f) {
  int64_t first = 0;
  for (; first + together <= states; first += together) f(std::integral_constant<int, together>(), first);
  for (; first < states; ++first) f(std::integral_constant<int, 1>(), first);
}

// Runs `task(index)` for every index, in parallel, each without subnormal numbers.
template <typename F>
void in_parallel(int64_t tasks, F task) {
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    const NoSubnormals guard;
    for (int64_t index = begin; index < end; ++index) task(index);
  });
}

// One vector per state, `[state, lanes]`, from or to a table `[state, dim]`.
template <typename T>
void read_states(const T* table, const Shape& s, const Place& at, Vectorized<T>* state) {
  for (int64_t k = 0; k < s.state; ++k)
    state[k] = Vectorized<T>::loadu(table + k * s.dim + at.channel, at.width);
}

template <typename T>
void write_states(const Vectorized<T>* state, const Shape& s, const Place& at, T* table) {
  for (int64_t k = 0; k < s.state; ++k) state[k].store(table + k * s.dim + at.channel, at.width);
}

// Everything that the tasks of a pass share. Tables of states are `[state, dim]`: `starts` has one per direction, chunk
// and sample, `lasts` one per direction and sample.
template <typename T>
struct Pass {
  Shape s;
  std::vector<Direction<T>> directions;
  std::optional<Sequence> z;
  bool softplus;
  T *starts = nullptr, *lasts = nullptr;

  Pass(TensorList tensors, const std::optional<Tensor>& gate, bool softplus, c10::ArrayRef<bool> reverse)
      : s(shape_of<T>(tensors)), directions(directions_of<T>(tensors, reverse)), softplus(softplus) {
    if (gate) z.emplace(*gate);
  }

  T* start(int64_t direction, int64_t chunk, int64_t sample) const {
    return starts + ((direction * s.chunks + chunk) * s.batch + sample) * s.state * s.dim;
  }
  T* last(int64_t direction, int64_t sample) const { return lasts + (direction * s.batch + sample) * s.state * s.dim; }
  const T* rates(const Direction<T>& d, int64_t state, const Place& at) const {
    return d.rates.template const_data_ptr<T>() + state * s.dim + at.channel;
  }
};

// The blocks of channels of a task, which lie side by side in memory: what one of them reads brings the next one's too.
struct Blocks {
  int64_t sample, group, first, count, span;

  Blocks(const Shape& s, int64_t task)
      : sample(task / s.spans / s.groups),
        group(task / s.spans % s.groups),
        first(task % s.spans * tiles_of_a_task),
        count(std::min(tiles_of_a_task, s.blocks - first)),
        span(task % s.spans) {}

  template <typename T>
  Place place(const Direction<T>& d, const Shape& s, int64_t chunk, int64_t block) const {
    const int64_t inside = (first + block) * lanes<T>;
    return d.place(s, sample, chunk, group * s.channels + inside, std::min(lanes<T>, s.channels - inside));
  }
};

template <typename T>
void gate(const Sequence& z, const Place& at, Chunk<T>& chunk) {
  read(z, at, chunk.u.values);
  for (int64_t r = 0; r < at.rows; ++r) {
    const auto value = chunk.u.at(r);
    chunk.y.set(r, chunk.y.at(r) * value * vector_math::sigmoid(value));
  }
}

template <typename T>
void forward_task(const Pass<T>& pass, int64_t task, const Sequence& sums, const Sequence& out) {
  const Shape& s = pass.s;
  const Blocks blocks(s, task);
  const int64_t count = pass.directions.size();
  Vectors<T> state(blocks.count * s.state);
  Chunk<T> chunk;
  for (int64_t i = 0; i < count; ++i) {
    const auto& d = pass.directions[i];
    const bool last = i + 1 == count;
    std::fill(state.begin(), state.end(), Vectorized<T>(T(0)));
    for (int64_t index = 0; index < s.chunks; ++index) {
      for (int64_t block = 0; block < blocks.count; ++block) {
        const Place at = blocks.place(d, s, index, block);
        Vectorized<T>* states = &state[block * s.state];
        if (pass.starts) write_states(states, s, at, pass.start(i, index, at.sample));
        chunk.fill(d, at, pass.softplus);
        in_sets(s.state, [&](auto set, int64_t first) {
          advance<set, false, T>(chunk, pass.rates(d, first, at), s.dim, Weights<T>(d, s, at, blocks.group, first), at,
                                 states + first, nullptr);
        });
        if (i) read(sums, at, chunk.u.values);
        for (int64_t r = 0; i && r < at.rows; ++r) chunk.y.set(r, chunk.y.at(r) + chunk.u.at(r));
        if (last && pass.z) gate(*pass.z, at, chunk);
        write(chunk.y.values, at, last ? out : sums);
      }
    }
    for (int64_t block = 0; block < blocks.count; ++block)
      write_states(&state[block * s.state], s, blocks.place(d, s, 0, block), pass.last(i, blocks.sample));
  }
}

template <typename T>
std::tuple<Tensor, Tensor, Tensor> forward(TensorList tensors, const std::optional<Tensor>& z, bool softplus,
                                           c10::ArrayRef<bool> reverse, bool keep) {
  Pass<T> pass(tensors, z, softplus, reverse);
  const Shape& s = pass.s;
  const auto options = tensors[0].options(), wide = options.dtype(c10::CppTypeToScalarType<T>::value);
  const int64_t count = reverse.size();
  Tensor out = at::empty({s.batch, s.length, s.dim}, options);
  Tensor lasts = at::empty({count, s.batch, s.state, s.dim}, wide);
  Tensor starts = at::empty({keep ? count * s.chunks * s.batch * s.state * s.dim : 0}, wide);
  pass.lasts = lasts.mutable_data_ptr<T>();
  pass.starts = keep ? starts.mutable_data_ptr<T>() : nullptr;
  // Directions before the last leave their sum in the output, or beside it where that is of a smaller dtype.
  const Tensor sum = count > 1 && out.dtype() != wide.dtype() ? at::empty(out.sizes(), wide) : out;
  const Sequence target(out), sums(sum);
  in_parallel(s.batch * s.groups * s.spans, [&](int64_t task) { forward_task(pass, task, sums, target); });
  return {out, lasts.transpose(2, 3).contiguous(), starts};
}

// Gradients of one direction. Those of B and C are `[batch, groups, spans, length, state]`, still to be summed over
// spans; those of A `[batch, state, dim]` and of D and delta_bias `[batch, dim]`, still to be summed over samples.
template <typename T>
struct Gradients {
  Tensor u, delta, A, B, C, D, bias;

  Gradients(TensorList t, const Shape& s) {
    const auto wide = t[0].options().dtype(c10::CppTypeToScalarType<T>::value);
    u = at::empty(t[0].sizes(), t[0].options());
    delta = at::empty(t[1].sizes(), t[1].options());
    A = at::empty({s.batch, s.state, s.dim}, wide);
    B = at::empty({s.batch, s.groups, s.spans, s.length, s.state}, wide);
    C = at::empty(B.sizes(), wide);
    D = at::empty({s.batch, s.dim}, wide);
    bias = at::empty({s.batch, s.dim}, wide);
  }

  void append_to(std::vector<Tensor>& found, TensorList t) const {
    found.insert(found.end(), {u, delta, A.sum(0).t().to(t[2].scalar_type()).contiguous()});
    for (const auto& [weights, like] : {std::pair(B, t[3]), std::pair(C, t[4])})
      found.push_back(weights.sum(2).permute({0, 2, 1, 3}).to(like.scalar_type()).contiguous());
    found.insert(found.end(), {D.sum(0).to(t[5].scalar_type()), bias.sum(0).to(t[6].scalar_type())});
  }
};

// Work space of a backward task.
template <typename T>
struct Scratch {
  Chunk<T> chunk;
  History<T> history;
  Tile<T> z, dout, dy, d_input, d_exponent;
  Vectors<T> state, carry, dA, dD, dbias, dB, dC;

  explicit Scratch(const Shape& s)
      : state(s.state),
        carry(tiles_of_a_task * s.state),
        dA(tiles_of_a_task * s.state),
        dD(tiles_of_a_task),
        dbias(tiles_of_a_task),
        dB(steps * s.state),
        dC(steps * s.state) {}
};

// Goes back over a chunk with `N` states: their gradients, `carry`, and what they give to those of the inputs.
template <int N, typename T>
void retreat(Scratch<T>& work, const T* rates, const Shape& s, const Weights<T>& w, const Place& at,
             Vectorized<T>* carry, Vectorized<T>* dA, int64_t first) {
  Vectorized<T> rate[N], g[N], a[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    rate[i] = Vectorized<T>::loadu(rates + i * s.dim, at.width);
    g[i] = carry[i];
    a[i] = dA[i];
  }
  for (int64_t r = at.rows - 1; r >= 0; --r) {
    const auto dy = work.dy.at(r), inflow = work.chunk.inflow.at(r), step = work.chunk.delta.at(r);
    auto d_input = work.d_input.at(r), d_exponent = work.d_exponent.at(r);
    const T *B = w.B + r * w.row, *C = w.C + r * w.row;
    const Vectorized<T>*before = work.history.states + r * N, *decays = work.history.decays + r * N;
    Vectorized<T>*dB = &work.dB[r * s.state + first], *dC = &work.dC[r * s.state + first];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const auto gradient = fmadd(dy, Vectorized<T>(C[i]), g[i]);
      dC[i] = fmadd(dy, before[N + i], dC[i]);
      dB[i] = fmadd(gradient, inflow, dB[i]);
      d_input = fmadd(gradient, Vectorized<T>(B[i]), d_input);
      g[i] = gradient * decays[i];
      const auto of_exponent = g[i] * before[i];
      a[i] = fmadd(of_exponent, step, a[i]);
      d_exponent = fmadd(of_exponent, rate[i], d_exponent);
    }
    work.d_input.set(r, d_input);
    work.d_exponent.set(r, d_exponent);
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    carry[i] = g[i];
    dA[i] = a[i];
  }
}

// The gradient of y from that of the gated output, and the state and gradients before the states have their say.
template <typename T>
void open_chunk(const Pass<T>& pass, const Direction<T>& d, const Place& at, const Sequence& grad_out,
                Scratch<T>& work) {
  work.chunk.fill(d, at, pass.softplus);
  read(grad_out, at, work.dout.values);
  if (pass.z) read(*pass.z, at, work.z.values);
  for (int64_t r = 0; r < at.rows; ++r) {
    const auto z = work.z.at(r);
    work.dy.set(r, pass.z ? work.dout.at(r) * z * vector_math::sigmoid(z) : work.dout.at(r));
    work.d_input.set(r, Vectorized<T>(T(0)));
    work.d_exponent.set(r, Vectorized<T>(T(0)));
  }
}

// Gradients of u, delta, D, delta_bias and z at the tokens of a chunk, from what the states gave.
template <typename T>
void close_chunk(const Pass<T>& pass, const Direction<T>& d, const Place& at, Scratch<T>& work, int64_t block,
                 const Gradients<T>& grads, const std::optional<Sequence>& grad_z, bool add_z) {
  auto sum_D = work.dD[block], sum_bias = work.dbias[block];
  const auto D = Vectorized<T>::loadu(d.D.template const_data_ptr<T>() + at.channel, at.width);
  Chunk<T>& chunk = work.chunk;
  for (int64_t r = 0; r < at.rows; ++r) {
    const auto u = chunk.u.at(r), dy = work.dy.at(r), d_input = work.d_input.at(r);
    auto d_delta = fmadd(work.d_exponent.at(r), Vectorized<T>(T(vector_math::ln_2)), d_input * u);
    if (pass.softplus) d_delta = d_delta * vector_math::sigmoid(chunk.raw.at(r));
    sum_D = fmadd(dy, u, sum_D);
    sum_bias = sum_bias + d_delta;
    work.d_exponent.set(r, d_delta);
    work.d_input.set(r, fmadd(d_input, chunk.delta.at(r), D * dy));
  }
  work.dD[block] = sum_D;
  work.dbias[block] = sum_bias;
  write(work.d_input.values, at, Sequence(grads.u));
  write(work.d_exponent.values, at, Sequence(grads.delta));
  if (!grad_z) return;
  if (add_z) read(*grad_z, at, work.dy.values);
  for (int64_t r = 0; r < at.rows; ++r) {
    const auto z = work.z.at(r), slope = vector_math::silu_slope(z, vector_math::sigmoid(z));
    const auto dz = work.dout.at(r) * chunk.y.at(r) * slope;
    work.dy.set(r, add_z ? dz + work.dy.at(r) : dz);
  }
  write(work.dy.values, at, *grad_z);
}

// Sums over lanes `[rows, state, lanes]` to `[length, state]` at the tokens of a chunk.
template <typename T>
void sum_lanes(const Vectors<T>& from, const Shape& s, const Place& at, T* to) {
  for (int64_t r = 0; r < at.rows; ++r)
    for (int64_t k = 0; k < s.state; ++k)
      to[(at.token + r * at.direction) * s.state + k] = at::vec::vec_reduce_all<T>(
          [](const Vectorized<T>& a, const Vectorized<T>& b) { return a + b; },
          from[r * s.state + k]);
}

template <typename T>
void backward_task(const Pass<T>& pass, int64_t task, const Sequence& grad_out,
                   const std::vector<Gradients<T>>& grads, const std::optional<Sequence>& grad_z) {
  const Shape& s = pass.s;
  const Blocks blocks(s, task);
  const auto place = [&](const Direction<T>& d, int64_t chunk, int64_t block) {
    return blocks.place(d, s, chunk, block);
  };
  Scratch<T> work(s);
  for (size_t i = 0; i < pass.directions.size(); ++i) {
    const auto& d = pass.directions[i];
    for (auto* sums : {&work.dA, &work.dD, &work.dbias}) std::fill(sums->begin(), sums->end(), Vectorized<T>(T(0)));
    for (int64_t block = 0; block < blocks.count; ++block)
      read_states(pass.last(i, blocks.sample), s, place(d, 0, block), &work.carry[block * s.state]);
    for (int64_t index = s.chunks - 1; index >= 0; --index) {
      for (auto* sums : {&work.dB, &work.dC}) std::fill(sums->begin(), sums->end(), Vectorized<T>(T(0)));
      for (int64_t block = 0; block < blocks.count; ++block) {
        const Place at = place(d, index, block);
        open_chunk(pass, d, at, grad_out, work);
        read_states(pass.start(i, index, blocks.sample), s, at, work.state.data());
        in_sets(s.state, [&](auto set, int64_t first) {
          const Weights<T> weights(d, s, at, blocks.group, first);
          const T* rates = pass.rates(d, first, at);
          const int64_t offset = block * s.state + first;
          advance<set, true, T>(work.chunk, rates, s.dim, weights, at, &work.state[first], &work.history);
          retreat<set, T>(work, rates, s, weights, at, &work.carry[offset], &work.dA[offset], first);
        });
        close_chunk(pass, d, at, work, block, grads[i], grad_z, i > 0);
      }
      const int64_t offset = ((blocks.sample * s.groups + blocks.group) * s.spans + blocks.span) * s.length * s.state;
      const Place at = place(d, index, 0);
      sum_lanes(work.dB, s, at, grads[i].B.template mutable_data_ptr<T>() + offset);
      sum_lanes(work.dC, s, at, grads[i].C.template mutable_data_ptr<T>() + offset);
    }
    for (int64_t block = 0; block < blocks.count; ++block) {
      const Place at = place(d, 0, block);
      const int64_t vector = blocks.sample * s.dim + at.channel;
      write_states(&work.dA[block * s.state], s, at,
                   grads[i].A.template mutable_data_ptr<T>() + blocks.sample * s.state * s.dim);
      work.dD[block].store(grads[i].D.template mutable_data_ptr<T>() + vector, at.width);
      work.dbias[block].store(grads[i].bias.template mutable_data_ptr<T>() + vector, at.width);
    }
  }
}

template <typename T>
std::vector<Tensor> backward(const Tensor& grad_out, const Tensor& grad_lasts, const Tensor& starts, TensorList tensors,
                             const std::optional<Tensor>& z, bool softplus, c10::ArrayRef<bool> reverse) {
  Pass<T> pass(tensors, z, softplus, reverse);
  const Shape& s = pass.s;
  const auto type = c10::CppTypeToScalarType<T>::value;
  const Tensor lasts = grad_lasts.to(type).transpose(2, 3).contiguous();
  pass.lasts = lasts.mutable_data_ptr<T>();
  pass.starts = starts.mutable_data_ptr<T>();
  std::vector<Gradients<T>> grads;
  for (size_t i = 0; i < reverse.size(); ++i)
    grads.emplace_back(tensors.slice(i * per_direction, per_direction), s);
  // Directions add to it one after the other, so it is rounded at the end.
  const Tensor grad_z = z ? at::empty(z->sizes(), z->options().dtype(type)) : Tensor();
  std::optional<Sequence> target;
  if (z) target.emplace(grad_z);
  const Sequence source(grad_out);
  in_parallel(s.batch * s.groups * s.spans,
              [&](int64_t task) { backward_task(pass, task, source, grads, target); });
  std::vector<Tensor> found;
  for (size_t i = 0; i < grads.size(); ++i)
    grads[i].append_to(found, tensors.slice(i * per_direction, per_direction));
  if (z) found.push_back(grad_z.to(z->scalar_type()));
  return found;
}

std::tuple<Tensor, Tensor, Tensor> compiled_scan(TensorList tensors, const std::optional<Tensor>& z, bool softplus,
                                                 c10::List<bool> reverse, bool keep) {
  const c10::SmallVector<bool, 2> ways(reverse.begin(), reverse.end());
  const auto run = tensors[0].scalar_type() == at::kDouble ? forward<double> : forward<float>;
  return run(tensors, z, softplus, ways, keep);
}

std::vector<Tensor> compiled_scan_backward(const Tensor& grad_out, const Tensor& grad_lasts, const Tensor& starts,
                                           TensorList tensors, const std::optional<Tensor>& z, bool softplus,
                                           c10::List<bool> reverse) {
  const c10::SmallVector<bool, 2> ways(reverse.begin(), reverse.end());
  const auto run = tensors[0].scalar_type() == at::kDouble ? backward<double> : backward<float>;
  return run(grad_out, grad_lasts, starts, tensors, z, softplus, ways);
}

TORCH_LIBRARY_IMPL(zoo, CPU, m) {
  m.impl("compiled_scan", compiled_scan);
  m.impl("compiled_scan_backward", compiled_scan_backward);
}

}  // namespace
