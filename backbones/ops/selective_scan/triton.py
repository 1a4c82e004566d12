"""Triton kernels of the selective scan; the only file that imports triton. `fused.py` makes an operator of them.

A program is one warp. It holds the states of a block of channels in registers and walks along the tokens of a segment,
so the recurrence needs no communication and no `[length, channels, state]` tensor exists. The backward direction walks
from the last token: nothing is flipped. A forward program walks both directions one after the other, so the sum of the
directions and the gate happen where the values are, in a fixed order: results do not change from run to run.

Where batch x channels fill the GPU, one segment is the whole sequence. Where they do not, the sequence is cut into
segments that are scanned at the same time in two passes: `segment_kernel` finds what every segment adds to the state,
`combine_kernel` the state before every segment (the decay of a segment is exp(A sum(delta)), so this costs one
exponential per segment, channel and state), and the main kernel starts from it. The first pass doubles the
exponentials, which bound the forward pass (performance.md B3), hence only where the GPU would stand idle otherwise.

The backward starts from states that the forward stored every CHUNK tokens, walks a chunk forward once more, keeping
every GROUP-th state in scratch memory that stays in the second-level cache, and then from its end. The gradients of B
and C are summed over the channels of a block in registers, over the blocks of a program in memory that only this
program touches, and over programs by torch: no atomics, because their order, and with it the result, would change from
run to run, and because mamba-ssm's one atomic per token, channel and state is the largest part of its backward.

What was checked without a GPU: the interpreter (TRITON_INTERPRET=1) and compilation for sm_90, by Triton 3.9 and by
the 3.6 of torch 2.11. With 16 states, blocks of 32 channels and one warp, ptxas gives the forward 96 to 121 registers
and no spills, so 16 warps or more on a multiprocessor, and 215 instructions per token; the backward 255 registers, 8
warps, 10 values spilled once every GROUP tokens, and 700 instructions per token, 40 of them shuffles. Half as wide a
block does not spill, but leaves half the lanes idle in all that is done per channel. Launch parameters are reasoned,
not measured.
"""

# mypy: disable-error-code="no-untyped-def"
import triton
import triton.language as tl

LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _pick(first, second, direction):
    chosen = first
    if direction == 1:
        chosen = second
    return chosen


@triton.jit
def _one_of(first, second, third, fourth, index: tl.constexpr):
    if index == 0:
        chosen = first
    elif index == 1:
        chosen = second
    elif index == 2:
        chosen = third
    else:
        chosen = fourth
    return chosen


@triton.jit
def _load(pointers, mask):
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _only(mask, flag):
    """The mask where flag is 1, nothing where it is 0. The interpreter cannot combine it with a single truth value."""
    return mask & (tl.arange(0, mask.shape[0]) < mask.shape[0] * flag)


@triton.jit
def _weights(tile, row, CONSTANT: tl.constexpr):
    """What multiplies the states at a token: the constant tile, or a row of it that all channels share."""
    if CONSTANT:  # noqa: SIM108 - decided when compiled, and the branches have different shapes
        weights = tile
    else:
        weights = row[:, None]
    return weights


@triton.jit
def _step(raw, SOFTPLUS: tl.constexpr):
    """Softplus as max(x, 0) + log1p(exp(-|x|)), log1p(e) = 2 artanh(e / (2 + e)): as exact for steps of 1e-7 as of 1.

    The argument of artanh is at most 1/3, where the first term left out is 2e-9 of the result.
    """
    step = raw
    if SOFTPLUS:
        e = tl.exp(-tl.abs(raw))
        s = e / (2.0 + e)
        q = s * s
        tail = 1 / 11 + q * (1 / 13 + q * (1 / 15))
        series = 1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * tail))))
        step = tl.maximum(raw, 0.0) + 2.0 * s * series
    return step


@triton.jit
def _channels(group, block, group_dim, BLOCK: tl.constexpr):
    """Channels of a block of a group, and which of them there are."""
    inside = block * BLOCK + tl.arange(0, BLOCK)
    return group * group_dim + inside, inside < group_dim


@triton.jit
def _tile(pointer, index, dim, channel, STATE: tl.constexpr, STATES: tl.constexpr):
    """Pointers to these channels in table number `index` of those `[state, dim]` tables."""
    return pointer + index * STATE * dim + tl.arange(0, STATES)[:, None] * dim + channel[None, :]


@triton.jit
def _fixed(weights, dim, channel, valid, CONSTANT: tl.constexpr, STATE: tl.constexpr, STATES: tl.constexpr,
           BLOCK: tl.constexpr):  # fmt: skip
    """Constant B or C of these channels."""
    tile = tl.zeros([STATES, BLOCK], tl.float32)
    if CONSTANT:
        tile = _load(_tile(weights, 0, dim, channel, STATE, STATES), valid)
    return tile


@triton.jit
def segment_kernel(
    x0, x1, delta0, delta1, W0, W1, A, bias, z, states, sums,
    length, dim, group_dim, group_blocks, segment_chunks, batch, x_b, x_l, d_b, d_l, w_b, w_l, w_g, z_b, z_l,
    REVERSE: tl.constexpr, ADJOINT: tl.constexpr, SOFTPLUS: tl.constexpr, GATED: tl.constexpr,
    CONSTANT: tl.constexpr, STATE: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """What a segment adds to the state that enters it, and its sum of steps.

    Forward, x is u and W is B. For the adjoint, x is the gradient of the output and W is C, the walk is the other way
    round, and the decay comes after the addition.
    """
    group, block = tl.program_id(0) // group_blocks, tl.program_id(0) % group_blocks
    segment, direction = tl.program_id(1), tl.program_id(2) // batch
    sample = (tl.program_id(2) % batch).to(tl.int64)
    channel, mask = _channels(group, block, group_dim, BLOCK)
    n = tl.arange(0, STATES)
    valid = (n < STATE)[:, None] & mask[None, :]
    x = _pick(x0, x1, direction) + sample * x_b + channel
    delta = _pick(delta0, delta1, direction) + sample * d_b + channel
    gate = z + sample * z_b + channel
    weights = _pick(W0, W1, direction)
    rates = _load(_tile(A, direction, dim, channel, STATE, STATES), valid)
    offset = _load(bias + direction * dim + channel, mask)
    state = tl.zeros([STATES, BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    fixed = _fixed(weights, dim, channel, valid, CONSTANT, STATE, STATES, BLOCK)
    rows = weights + sample * w_b + group * w_g + n
    low = segment * segment_chunks * CHUNK
    size = tl.minimum(segment_chunks * CHUNK, length - low)
    backwards = ((REVERSE >> direction) & 1) ^ ADJOINT
    for i in range(size):
        t = low + i + backwards * (size - 1 - 2 * i)
        step = _step(_load(delta + t * d_l, mask) + offset, SOFTPLUS)
        value = _load(x + t * x_l, mask)
        row = fixed
        if not CONSTANT:
            row = _load(rows + t * w_l, n < STATE)[:, None]
        decay = tl.exp2(step[None, :] * rates)
        if ADJOINT:
            if GATED:
                g = _load(gate + t * z_l, mask)
                value *= g * tl.sigmoid(g)
            state = decay * (state + value[None, :] * row)
        else:
            state = decay * state + (step * value)[None, :] * row
        total += step
    index = (direction * batch + sample) * tl.num_programs(1) + segment
    tl.store(_tile(states, index, dim, channel, STATE, STATES), state, mask=valid)
    tl.store(sums + index * dim + channel, total, mask=mask)


@triton.jit
def combine_kernel(
    states, sums, A, initial, dim, segments, batch,
    REVERSE: tl.constexpr, ADJOINT: tl.constexpr, STATE: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Turn what the segments add into the state that enters each of them, in place."""
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = channel < dim
    valid = (tl.arange(0, STATES) < STATE)[:, None] & mask[None, :]
    direction, sample = tl.program_id(1) // batch, (tl.program_id(1) % batch).to(tl.int64)
    index = direction * batch + sample
    rates = _load(_tile(A, direction, dim, channel, STATE, STATES), valid)
    carry = _load(_tile(initial, index, dim, channel, STATE, STATES), valid)
    backwards = ((REVERSE >> direction) & 1) ^ ADJOINT
    for i in range(segments):
        segment = index * segments + i + backwards * (segments - 1 - 2 * i)
        pointers = _tile(states, segment, dim, channel, STATE, STATES)
        added = _load(pointers, valid)
        total = _load(sums + segment * dim + channel, mask)
        tl.store(pointers, carry, mask=valid)
        carry = tl.exp2(total[None, :] * rates) * carry + added


@triton.jit
def forward_kernel(
    u0, u1, delta0, delta1, B0, B1, C0, C1, A, D, bias, z, out, partial, kept, states, starts, last,
    length, dim, group_dim, group_blocks, segment_chunks, x_b, x_l, d_b, d_l, w_b, w_l, w_g, z_b, z_l,
    DIRECTIONS: tl.constexpr, REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, GATED: tl.constexpr, KEEP: tl.constexpr,
    B_CONSTANT: tl.constexpr, C_CONSTANT: tl.constexpr,
    STATE: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Scan a segment in every direction, add the results, gate the sum."""
    group, block = tl.program_id(0) // group_blocks, tl.program_id(0) % group_blocks
    segment, sample = tl.program_id(1), tl.program_id(2).to(tl.int64)
    segments, batch = tl.num_programs(1), tl.num_programs(2)
    channel, mask = _channels(group, block, group_dim, BLOCK)
    n = tl.arange(0, STATES)
    valid = (n < STATE)[:, None] & mask[None, :]
    dense = sample * length * dim + channel
    chunks = tl.cdiv(length, CHUNK)
    first = segment * segment_chunks
    count = tl.minimum(segment_chunks, chunks - first)
    for direction in range(DIRECTIONS):
        backwards = (REVERSE >> direction) & 1
        final = (direction + 1) // DIRECTIONS
        ends = _only(mask, final)
        index = direction * batch + sample
        u = _pick(u0, u1, direction) + sample * x_b + channel
        delta = _pick(delta0, delta1, direction) + sample * d_b + channel
        B, C = _pick(B0, B1, direction), _pick(C0, C1, direction)
        rates = _load(_tile(A, direction, dim, channel, STATE, STATES), valid)
        skip = _load(D + direction * dim + channel, mask)
        offset = _load(bias + direction * dim + channel, mask)
        state = _load(_tile(states, index * segments + segment, dim, channel, STATE, STATES), valid)
        fixed_B = _fixed(B, dim, channel, valid, B_CONSTANT, STATE, STATES, BLOCK)
        fixed_C = _fixed(C, dim, channel, valid, C_CONSTANT, STATE, STATES, BLOCK)
        for i in range(count):
            chunk = first + i + backwards * (count - 1 - 2 * i)
            if KEEP:
                tl.store(_tile(starts, index * chunks + chunk, dim, channel, STATE, STATES), state, mask=valid)
            state = _walk(
                state, rates, skip, offset, fixed_B, fixed_C, u, delta,
                B + sample * w_b + group * w_g + n, C + sample * w_b + group * w_g + n, z + sample * z_b + channel,
                out + dense, partial + dense, kept + dense, mask, ends, _only(mask, 1 - final), backwards,
                chunk * CHUNK, tl.minimum(CHUNK, length - chunk * CHUNK), dim, x_l, d_l, w_l, z_l,
                DIRECTIONS, SOFTPLUS, GATED, KEEP, B_CONSTANT, C_CONSTANT, STATE, STATES,
            )  # fmt: skip
        if segment == (segments - 1) * (1 - backwards):
            tl.store(_tile(last, index, dim, channel, STATE, STATES), state, mask=valid)
        tl.debug_barrier()  # the next direction reads `partial`


@triton.jit
def _read(u, delta, B, C, t, mask, x_l, d_l, w_l, B_mask, C_mask):
    """u, delta, B and C at token t, in their own dtypes."""
    return (
        tl.load(u + t * x_l, mask=mask, other=0.0),
        tl.load(delta + t * d_l, mask=mask, other=0.0),
        tl.load(B + t * w_l, mask=B_mask, other=0.0),
        tl.load(C + t * w_l, mask=C_mask, other=0.0),
    )


@triton.jit
def _walk(
    state, rates, skip, offset, fixed_B, fixed_C, u, delta, B, C, z, out, partial, kept, mask, ends, goes_on, backwards,
    low, size, dim, x_l, d_l, w_l, z_l,
    DIRECTIONS: tl.constexpr, SOFTPLUS: tl.constexpr, GATED: tl.constexpr, KEEP: tl.constexpr,
    B_CONSTANT: tl.constexpr, C_CONSTANT: tl.constexpr, STATE: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """Scan a chunk. The loads of a token are issued before the arithmetic of the one before it, to hide their time."""
    n = tl.arange(0, STATES)
    B_mask, C_mask = n < STATE * (1 - B_CONSTANT), n < STATE * (1 - C_CONSTANT)
    t = low + backwards * (size - 1)
    next_u, next_raw, next_B, next_C = _read(u, delta, B, C, t, mask, x_l, d_l, w_l, B_mask, C_mask)
    for i in range(size):
        value, raw, row_B, row_C = next_u, next_raw, next_B, next_C
        at = t * dim
        before = tl.zeros_like(skip)
        if DIRECTIONS == 2:
            before = tl.load(partial + at, mask=ends, other=0.0)
        gate = skip
        if GATED:
            gate = _load(z + t * z_l, ends)
        t = low + tl.minimum(i + 1, size - 1)
        t += backwards * (size - 1 - 2 * tl.minimum(i + 1, size - 1))
        next_u, next_raw, next_B, next_C = _read(u, delta, B, C, t, mask, x_l, d_l, w_l, B_mask, C_mask)
        value = value.to(tl.float32)
        step = _step(raw.to(tl.float32) + offset, SOFTPLUS)
        inflow = (step * value)[None, :] * _weights(fixed_B, row_B.to(tl.float32), B_CONSTANT)
        state = tl.exp2(step[None, :] * rates) * state + inflow
        y = tl.sum(state * _weights(fixed_C, row_C.to(tl.float32), C_CONSTANT), 0) + skip * value + before
        if DIRECTIONS == 2:
            tl.store(partial + at, y, mask=goes_on)
        if GATED:
            if KEEP:
                tl.store(kept + at, y.to(kept.dtype.element_ty), mask=ends)
            y *= gate * tl.sigmoid(gate)
        tl.store(out + at, y.to(out.dtype.element_ty), mask=ends)
    return state


@triton.jit
def backward_kernel(
    u0, u1, delta0, delta1, B0, B1, C0, C1, A, D, bias, z, kept, grad_out, starts, adjoints, scratch,
    du, ddelta, dz, dA, dB, dC, dD, dbias,
    length, dim, groups, group_dim, group_blocks, slots, segment_chunks, batch,
    x_b, x_l, d_b, d_l, w_b, w_l, w_g, z_b, z_l,
    REVERSE: tl.constexpr, SOFTPLUS: tl.constexpr, GATED: tl.constexpr,
    B_CONSTANT: tl.constexpr, C_CONSTANT: tl.constexpr,
    STATE: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Gradients of a segment in one direction, for every `slots`-th block of channels of a group."""
    group, slot = tl.program_id(0) // slots, tl.program_id(0) % slots
    segment, segments = tl.program_id(1), tl.num_programs(1)
    direction, sample = tl.program_id(2) // batch, (tl.program_id(2) % batch).to(tl.int64)
    backwards = (REVERSE >> direction) & 1
    index = direction * batch + sample
    n = tl.arange(0, STATES)
    chunks, first = tl.cdiv(length, CHUNK), segment * segment_chunks
    count = tl.minimum(segment_chunks, chunks - first)
    u, delta = _pick(u0, u1, direction) + sample * x_b, _pick(delta0, delta1, direction) + sample * d_b
    B, C = _pick(B0, B1, direction), _pick(C0, C1, direction)
    program = (tl.program_id(2).to(tl.int64) * segments + segment) * tl.num_programs(0) + tl.program_id(0)
    scratch += program * (CHUNK // GROUP) * STATES * BLOCK
    # [directions, slots, batch, length, groups, state]
    row = ((direction * slots + slot) * batch + sample) * length * groups * STATE + group * STATE + n
    for block in range(slot, group_blocks, slots):
        channel, mask = _channels(group, block, group_dim, BLOCK)
        valid = (n < STATE)[:, None] & mask[None, :]
        dense = sample * length * dim + channel
        per_direction = index * length * dim + channel
        rates = _load(_tile(A, direction, dim, channel, STATE, STATES), valid)
        skip = _load(D + direction * dim + channel, mask)
        offset = _load(bias + direction * dim + channel, mask)
        adjoint = _load(_tile(adjoints, index * segments + segment, dim, channel, STATE, STATES), valid)
        zeros = tl.zeros([STATES, BLOCK], tl.float32)
        fixed_B = _fixed(B, dim, channel, valid, B_CONSTANT, STATE, STATES, BLOCK)
        fixed_C = _fixed(C, dim, channel, valid, C_CONSTANT, STATE, STATES, BLOCK)
        sum_A, sum_B, sum_C = zeros, zeros, zeros
        sum_D, sum_bias = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for i in range(count):
            chunk = first + i + (1 - backwards) * (count - 1 - 2 * i)
            state = _load(_tile(starts, index * chunks + chunk, dim, channel, STATE, STATES), valid)
            adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias = _walk_back(
                state, adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias, rates, skip, offset, fixed_B, fixed_C,
                u + channel, delta + channel, B + sample * w_b + group * w_g + n, C + sample * w_b + group * w_g + n,
                z + sample * z_b + channel, kept + dense, grad_out + dense, scratch,
                du + per_direction, ddelta + per_direction, dz + dense, dB + row, dC + row,
                mask, 1 - direction, tl.minimum(block - slot, 1), backwards, chunk * CHUNK,
                tl.minimum(CHUNK, length - chunk * CHUNK), dim, groups * STATE, x_l, d_l, w_l, z_l,
                SOFTPLUS, GATED, B_CONSTANT, C_CONSTANT, STATE, STATES, BLOCK, GROUP,
            )  # fmt: skip
        part = index * segments + segment
        tl.store(_tile(dA, part, dim, channel, STATE, STATES), sum_A, mask=valid)
        if B_CONSTANT:
            tl.store(_tile(dB, part, dim, channel, STATE, STATES), sum_B, mask=valid)
        if C_CONSTANT:
            tl.store(_tile(dC, part, dim, channel, STATE, STATES), sum_C, mask=valid)
        tl.store(dD + part * dim + channel, sum_D, mask=mask)
        tl.store(dbias + part * dim + channel, sum_bias, mask=mask)
        tl.debug_barrier()  # the next block adds to `dB` and `dC`


@triton.jit
def _advance(
    state, rates, offset, fixed_B, u, delta, B, low, position, size, backwards, mask, x_l, d_l, w_l,
    SOFTPLUS: tl.constexpr, B_CONSTANT: tl.constexpr, STATE: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """The decay at a position of a chunk, and the state after it; positions past the end change nothing."""
    inside = tl.minimum(tl.maximum(size - position, 0), 1)
    t = low + position + backwards * (size - 1 - 2 * position)
    mask = _only(mask, inside)
    step = _step(_load(delta + t * d_l, mask) + offset, SOFTPLUS) * inside
    row = _load(B + t * w_l, tl.arange(0, STATES) < STATE * (1 - B_CONSTANT) * inside)
    inflow = (step * _load(u + t * x_l, mask))[None, :] * _weights(fixed_B, row, B_CONSTANT)
    decay = tl.exp2(step[None, :] * rates)
    return decay, decay * state + inflow


@triton.jit
def _walk_back(
    state, adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias, rates, skip, offset, fixed_B, fixed_C,
    u, delta, B, C, z, kept, grad_out, scratch, du, ddelta, dz, dB, dC,
    mask, writes_gate, adds, backwards, low, size, dim, row_size, x_l, d_l, w_l, z_l,
    SOFTPLUS: tl.constexpr, GATED: tl.constexpr, B_CONSTANT: tl.constexpr, C_CONSTANT: tl.constexpr,
    STATE: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Gradients of a chunk from the state before it and the gradient of the state after it."""
    n = tl.arange(0, STATES)
    tile = n[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    groups_of_tokens = tl.cdiv(size, GROUP)
    for i in range(groups_of_tokens):
        tl.store(scratch + i * STATES * BLOCK + tile, state)
        for k in tl.static_range(GROUP):
            _, state = _advance(
                state, rates, offset, fixed_B, u, delta, B, low, i * GROUP + k, size, backwards, mask, x_l, d_l, w_l,
                SOFTPLUS, B_CONSTANT, STATE, STATES,
            )  # fmt: skip
    tl.debug_barrier()
    for i in range(groups_of_tokens):
        at = (groups_of_tokens - 1 - i) * GROUP
        state0 = tl.load(scratch + (groups_of_tokens - 1 - i) * STATES * BLOCK + tile)
        decay0, state1 = _advance(
            state0, rates, offset, fixed_B, u, delta, B, low, at, size, backwards, mask, x_l, d_l, w_l,
            SOFTPLUS, B_CONSTANT, STATE, STATES,
        )  # fmt: skip
        decay1, state2 = _advance(
            state1, rates, offset, fixed_B, u, delta, B, low, at + 1, size, backwards, mask, x_l, d_l, w_l,
            SOFTPLUS, B_CONSTANT, STATE, STATES,
        )  # fmt: skip
        decay2, state3 = _advance(
            state2, rates, offset, fixed_B, u, delta, B, low, at + 2, size, backwards, mask, x_l, d_l, w_l,
            SOFTPLUS, B_CONSTANT, STATE, STATES,
        )  # fmt: skip
        decay3, _ = _advance(
            state3, rates, offset, fixed_B, u, delta, B, low, at + 3, size, backwards, mask, x_l, d_l, w_l,
            SOFTPLUS, B_CONSTANT, STATE, STATES,
        )  # fmt: skip
        for k in tl.static_range(GROUP):
            position = at + GROUP - 1 - k
            inside = tl.minimum(tl.maximum(size - position, 0), 1)
            adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias = _retreat(
                _one_of(decay3, decay2, decay1, decay0, k), _one_of(state3, state2, state1, state0, k),
                adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias, rates, skip, offset, fixed_B, fixed_C,
                u, delta, B, C, z, kept, grad_out, du, ddelta, dz, dB, dC, _only(mask, inside), n < STATE * inside,
                writes_gate, adds,
                low + position + backwards * (size - 1 - 2 * position), dim, row_size, x_l, d_l, w_l, z_l,
                SOFTPLUS, GATED, B_CONSTANT, C_CONSTANT,
            )  # fmt: skip
    tl.debug_barrier()  # the next chunk overwrites the scratch memory
    return adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias


@triton.jit
def _retreat(
    decay, before, adjoint, sum_A, sum_B, sum_C, sum_D, sum_bias, rates, skip, offset, fixed_B, fixed_C,
    u, delta, B, C, z, kept, grad_out, du, ddelta, dz, dB, dC, mask, row_mask, writes_gate, adds,
    t, dim, row_size, x_l, d_l, w_l, z_l,
    SOFTPLUS: tl.constexpr, GATED: tl.constexpr, B_CONSTANT: tl.constexpr, C_CONSTANT: tl.constexpr,
):  # fmt: skip
    """Gradients of a token from the decay at it, the state before it and the gradient of the state after it."""
    at = t * dim
    value, raw = _load(u + t * x_l, mask), _load(delta + t * d_l, mask) + offset
    dy = _load(grad_out + at, mask)
    if GATED:
        gate = _load(z + t * z_l, mask)
        open_ = tl.sigmoid(gate)
        d_gate = dy * _load(kept + at, _only(mask, writes_gate)) * open_ * (1.0 + gate * (1.0 - open_))
        tl.store(dz + at, d_gate.to(dz.dtype.element_ty), mask=_only(mask, writes_gate))
        dy *= gate * open_
    weights_B, weights_C = fixed_B, fixed_C
    if not B_CONSTANT:
        weights_B = _load(B + t * w_l, row_mask)[:, None]
    if not C_CONSTANT:
        weights_C = _load(C + t * w_l, row_mask)[:, None]
    # Past the end of the sequence all of these are 0, decay is 1, and nothing is changed.
    step = tl.where(mask, _step(raw, SOFTPLUS), 0.0)
    inflow = step * value
    decayed = decay * before
    d_C = dy[None, :] * (decayed + inflow[None, :] * weights_B)
    adjoint += dy[None, :] * weights_C
    d_B = adjoint * inflow[None, :]
    if B_CONSTANT:
        sum_B += d_B
    else:
        summed = tl.sum(d_B, 1) + tl.load(dB + t * row_size, mask=_only(row_mask, adds), other=0.0)
        tl.store(dB + t * row_size, summed, mask=row_mask)
    if C_CONSTANT:
        sum_C += d_C
    else:
        summed = tl.sum(d_C, 1) + tl.load(dC + t * row_size, mask=_only(row_mask, adds), other=0.0)
        tl.store(dC + t * row_size, summed, mask=row_mask)
    d_inflow = tl.sum(adjoint * weights_B, 0)
    d_exponent = adjoint * decayed
    sum_A += d_exponent * step[None, :]
    d_step = tl.sum(d_exponent * rates, 0) * LN_2 + d_inflow * value
    if SOFTPLUS:
        d_step *= tl.sigmoid(raw)
    sum_bias += tl.where(mask, d_step, 0.0)
    sum_D += dy * value
    d_value = d_inflow * step + skip * dy
    tl.store(ddelta + at, d_step.to(ddelta.dtype.element_ty), mask=mask)
    tl.store(du + at, d_value.to(du.dtype.element_ty), mask=mask)
    return adjoint * decay, sum_A, sum_B, sum_C, sum_D, sum_bias
