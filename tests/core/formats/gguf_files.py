"""A small writer of GGUF files, true and false ones"""

import struct


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def number(kind, value):
    code = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}[kind]
    return struct.pack("<" + code, value)


def pair(key, kind, value):
    """A metadata entry; a value given as bytes is written as it is"""
    if not isinstance(value, bytes):
        value = text(value) if kind == 8 else number(kind, value)
    return text(key) + struct.pack("<I", kind) + value


def array(kind, items):
    body = b"".join(text(item) if kind == 8 else number(kind, item) for item in items)
    return struct.pack("<IQ", kind, len(items)) + body


def tensor(name, inner_first, kind, offset):
    dims = struct.pack(f"<I{len(inner_first)}Q", len(inner_first), *inner_first)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def gguf(pairs=(), tensors=(), data=b"", *, version=3, alignment=32, counts=None):
    tensor_count, pair_count = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, tensor_count, pair_count) + b"".join([*pairs, *tensors])
    return head + bytes(-len(head) % alignment) + data
