"""Device kernels: BLAKE3 in Triton's language, chunks side by side, then the tree of what they give

The algorithm is that of the paper, https://github.com/BLAKE3-team/BLAKE3-specs: chunks of 1024 bytes in blocks of 64,
whose chaining values are joined two by two; a value without a partner goes up a level as it is. Words are
little-endian, as on every GPU. A job is a row of four int64 that says what one program does.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, PLR0917, RUF005 - Triton's language has no such types and no unpacking

import triton
import triton.language as tl

# What a program does side by side: chunks that it hashes, values that it joins to one.
CHUNKS = 128
VALUES = 256

_START = tl.constexpr(1)
_END = tl.constexpr(2)
_PARENT = tl.constexpr(4)
_ROOT = tl.constexpr(8)


@triton.jit
def chunks(jobs, values, lanes: tl.constexpr):
    """Chaining values of the chunks of a stretch of memory

    job: address, divisible by 16; bytes from there to the end of the piece; number of the first chunk; where its value
    goes. What is no whole 16 bytes at the end is read byte by byte, as nothing may be read that is not the piece's.
    """
    job = jobs + tl.program_id(0) * 4
    address, left, first, into = tl.load(job), tl.load(job + 1), tl.load(job + 2), tl.load(job + 3)
    left = tl.minimum(left, lanes * 1024).to(tl.int32)
    tail = left // 16 * 16
    rest = _rest(address + tail, left - tail)
    lane = tl.arange(0, lanes)
    number = first + lane
    low, high = number.to(tl.uint32), (number >> 32).to(tl.uint32)
    begin = lane * 1024
    blocks = tl.maximum((tl.minimum(left - begin, 1024) + 63) // 64, 1)
    root = tl.where((first == 0) & (left <= 1024), _ROOT, 0)
    data = tl.multiple_of(address.to(tl.pointer_type(tl.uint32)), 16) + begin // 4
    value = _initial(lanes)
    for block in range(tl.maximum(tl.minimum((left + 63) // 64, 16), 1)):
        message = ()
        for quarter in tl.static_range(4):
            at = begin + block * 64 + quarter * 16
            words = _four(data + block * 16 + quarter * 4, at < tail)
            for word in tl.static_range(4):
                message = message + (tl.where(at == tail, rest[word], words[word]),)
        last = block == blocks - 1
        size = tl.where(last, tl.maximum(left - begin - block * 64, 0), 64)
        size = tl.minimum(size, 64).to(tl.uint32)
        flags = tl.where(block == 0, _START, 0) | tl.where(last, _END | root, 0)
        following = _compress(value, message, low, high, size, flags.to(tl.uint32))
        value = _chosen(block < blocks, following, value)
    there = (begin < left) | (number == 0)
    for word in tl.static_range(8):
        tl.store(values + (into + lane) * 8 + word, value[word], mask=there)


@triton.jit
def join(jobs, values, joined, lanes: tl.constexpr):
    """One chaining value of up to `lanes` that follow each other

    job: where the first of them is; how many; whether they are all of their piece.
    """
    job = jobs + tl.program_id(0) * 4
    begin, count, alone = tl.load(job), tl.load(job + 1).to(tl.int32), tl.load(job + 2)
    lane = tl.arange(0, lanes)
    source = values + (begin + lane) * 8
    value = _four(source, lane < count) + _four(source + 4, lane < count)
    zero = tl.zeros([lanes], tl.uint32)
    left = lane * 2 % lanes
    while count > 1:
        message = ()
        for word in tl.static_range(16):
            message = message + (tl.gather(value[word % 8], left + word // 8, 0),)
        flags = _PARENT | tl.where((alone != 0) & (count == 2), _ROOT, 0)
        parent = _compress(_initial(lanes), message, zero, zero, zero + 64, zero + flags.to(tl.uint32))
        value = _chosen(lane * 2 + 1 < count, parent, message)
        count = (count + 1) // 2
    for word in tl.static_range(8):
        tl.store(joined + (tl.program_id(0) + lane) * 8 + word, value[word], mask=lane == 0)


@triton.jit
def _rest(address, count):
    """Four words of fewer than 16 bytes, zeros after them"""
    data = address.to(tl.pointer_type(tl.uint8))
    words = ()
    for word in tl.static_range(4):
        value = (count * 0).to(tl.uint32)
        for byte in tl.static_range(4):
            at = word * 4 + byte
            value = value | (tl.load(data + at, mask=at < count, other=0).to(tl.uint32) << (byte * 8))
        words = words + (value,)
    return words


@triton.jit
def _four(source, there):
    """Four words at each address, which is divisible by 16: one wide load for a lane"""
    lanes: tl.constexpr = source.shape[0]
    each = source[:, None] + tl.arange(0, 4)[None, :]
    words = tl.load(each, mask=there[:, None], other=0)
    even, odd = tl.split(tl.reshape(words, [lanes, 2, 2]))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def _chosen(which, one, other):
    """A chaining value, from one or the other"""
    value = ()
    for word in tl.static_range(8):
        value = value + (tl.where(which, one[word], other[word]),)
    return value


@triton.jit
def _initial(lanes: tl.constexpr):
    return (
        tl.full([lanes], 0x6A09E667, tl.uint32),
        tl.full([lanes], 0xBB67AE85, tl.uint32),
        tl.full([lanes], 0x3C6EF372, tl.uint32),
        tl.full([lanes], 0xA54FF53A, tl.uint32),
        tl.full([lanes], 0x510E527F, tl.uint32),
        tl.full([lanes], 0x9B05688C, tl.uint32),
        tl.full([lanes], 0x1F83D9AB, tl.uint32),
        tl.full([lanes], 0x5BE0CD19, tl.uint32),
    )


@triton.jit
def _mix(a, b, c, d, x, y):
    """The quarter-round of the paper, section 2.2; its sums wrap, which Triton takes for a mistake unless told"""
    a = tl.add(tl.add(a, b, False), x, False)
    d = d ^ a
    d = d >> 16 | d << 16
    c = tl.add(c, d, False)
    b = b ^ c
    b = b >> 12 | b << 20
    a = tl.add(tl.add(a, b, False), y, False)
    d = d ^ a
    d = d >> 8 | d << 24
    c = tl.add(c, d, False)
    b = b ^ c
    b = b >> 7 | b << 25
    return a, b, c, d


@triton.jit
def _compress(value, m, low, high, size, flags):
    """The compression function of the paper, section 2.2, cut to a chaining value"""
    lanes: tl.constexpr = low.shape[0]
    v0, v1, v2, v3, v4, v5, v6, v7 = value
    start = _initial(lanes)
    v8, v9, va, vb = start[0], start[1], start[2], start[3]
    vc, vd, ve, vf = low, high, size, flags
    for _ in tl.static_range(7):
        v0, v4, v8, vc = _mix(v0, v4, v8, vc, m[0], m[1])
        v1, v5, v9, vd = _mix(v1, v5, v9, vd, m[2], m[3])
        v2, v6, va, ve = _mix(v2, v6, va, ve, m[4], m[5])
        v3, v7, vb, vf = _mix(v3, v7, vb, vf, m[6], m[7])
        v0, v5, va, vf = _mix(v0, v5, va, vf, m[8], m[9])
        v1, v6, vb, vc = _mix(v1, v6, vb, vc, m[10], m[11])
        v2, v7, v8, vd = _mix(v2, v7, v8, vd, m[12], m[13])
        v3, v4, v9, ve = _mix(v3, v4, v9, ve, m[14], m[15])
        m = (m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8])
    return v0 ^ v8, v1 ^ v9, v2 ^ va, v3 ^ vb, v4 ^ vc, v5 ^ vd, v6 ^ ve, v7 ^ vf


# Decided by the environment when Triton is imported.
INTERPRETED = not isinstance(chunks, triton.JITFunction)
