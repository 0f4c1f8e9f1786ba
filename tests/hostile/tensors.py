"""Changes to what stands in a safetensors file."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np

from hostile import values

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
SIZES |= {"U16": 2, "U32": 4, "U64": 8, "U8": 1, "BOOL": 1}
NUMPY = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1"}
NUMPY |= {"U16": "u2", "U32": "u4", "U64": "u8", "U8": "u1"}


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path: Path, header: Any, data: bytes) -> None:
    """The file of a header, whatever that says."""
    head = header.encode() if isinstance(header, str) else values.text(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def change(path: Path, dice: random.Random) -> str:
    """Change one tensor so that the file itself stays whole."""
    header, data = read(path)
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return change_header(path, dice)
    name = dice.choice(names)
    kind = dice.choice(("value",) * 4 + ("drop", "rename", "dtype", "shape", "add", "exchange"))
    if kind == "value":
        return f"{name}: {_value(path, header, data, name, dice)}"
    parts = {n: (header[n], data[slice(*header[n]["data_offsets"])]) for n in names}
    facts, own = parts[name]
    if kind == "drop":
        del parts[name]
    elif kind == "rename":
        new = dice.choice(("surplus", f"{name}.x", *values.NAMES[:20]))
        parts = {(new if n == name else n): p for n, p in parts.items()}
    elif kind == "dtype":
        new = dice.choice(sorted(SIZES))
        count = len(own) // SIZES[facts["dtype"]]
        parts[name] = (facts | {"dtype": new}, bytes(count * SIZES[new]))
    elif kind == "shape":
        shape = dice.choice(([], [1, *facts["shape"]], facts["shape"][::-1], [0]))
        size = SIZES[facts["dtype"]]
        parts[name] = (facts | {"shape": shape}, (own + bytes(size))[: int(np.prod(shape)) * size])
    elif kind == "add":
        parts[dice.choice(("surplus", f"{name}2", "nodes/9.attn_in", "a/b/c"))] = (facts, own)
    else:
        other = dice.choice(names)
        parts[name], parts[other] = parts[other], parts[name]
    _join(path, header.get("__metadata__"), parts)
    return f"{name}: {kind}"


def change_header(path: Path, dice: random.Random) -> str:
    """Change the header so that it lies."""
    header, data = read(path)
    kind = dice.choice(("length", "value", "value", "value", "deep"))
    if kind == "length":
        size = dice.choice((0, 1, 7, 2**31, 2**40, 2**63, 2**64 - 1))
        path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
        return f"header of {size} bytes"
    if kind == "deep":
        write(path, values.DEEP, data)
        return "a deep header"
    changed, words = values.changed(header, dice)
    write(path, changed, data)
    return f"header {words}"


def _value(path: Path, header: dict[str, Any], data: bytes, name: str, dice: random.Random) -> str:
    facts = header[name]
    start, end = facts["data_offsets"]
    kind = NUMPY.get(facts["dtype"])
    if end == start or kind is None:
        header[name] = facts | {"shape": [2**40]}
        write(path, header, data)
        return "of 2**40 elements"
    array = np.frombuffer(data[start:end], dtype=kind).copy()
    whole = kind[0] in "iu"
    limit = np.iinfo(kind) if whole else None
    choices = (
        (limit.min, limit.max, 0, 1, 7, 10_000)
        if limit
        else (*(np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 1e-40, 1.0),)
    )
    new = dice.choice(choices)
    at: Any = slice(None) if dice.random() < 0.15 else dice.randrange(len(array))
    array[at] = new
    write(path, header, data[:start] + array.tobytes() + data[end:])
    return f"[{'all' if isinstance(at, slice) else at}] = {new}"


def _join(path: Path, metadata: Any, parts: dict[str, tuple[dict[str, Any], bytes]]) -> None:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (facts, own) in parts.items():
        header[name] = facts | {"data_offsets": [len(data), len(data) + len(own)]}
        data += own
    write(path, header, data)
