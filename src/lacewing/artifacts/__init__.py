"""The only reader and writer of folders and of the files in them.

    files      bytes, in one step
    packed     the same in fewer, for what ships
    values     JSON, bounded, and checked against a type
    tensors    safetensors, checked for names, shapes, types and finite numbers
    moments    what an optimizer remembers, among those
    locks      one process, or one writer, at a time
    manifest   what makes a folder whole, and reading its files by their sums
    folders    writing a folder whole, or not at all

A folder is whole or absent: its manifest.json, which lists every file with size and SHA-256, is
written last. Files are written beside their place and renamed into it, so a crash leaves the old
or the new. Nothing here is a pickle: JSON, safetensors and plain bytes only.
"""

from lacewing.artifacts.files import cache_folder, read_bytes, real, utf8, write_bytes
from lacewing.artifacts.folders import (
    check_free,
    check_same,
    place,
    recover,
    seal,
    unfinished,
    write_folder,
)
from lacewing.artifacts.locks import LOCK, alone, locked, refuse_links
from lacewing.artifacts.manifest import (
    FORMAT,
    MANIFEST,
    Whole,
    inside,
    open_folder,
    own,
    read_manifest,
)
from lacewing.artifacts.moments import KEY, checked_moments, moments
from lacewing.artifacts.packed import PACKED, packed, unpacked
from lacewing.artifacts.tensors import (
    check_tensors,
    check_values,
    parse_metadata,
    parse_tensors,
    read_metadata,
    read_tensors,
    tensor_bytes,
    write_tensors,
)
from lacewing.artifacts.values import (
    EXACT,
    LARGEST,
    LOOSE,
    OPEN,
    SUM,
    adapter,
    foreign,
    parse,
    parse_json,
    parse_lines,
    read,
    read_json,
    read_lines,
    read_summed,
    sum_of,
    typed,
    without_sum,
    write_json,
    write_summed,
)

__all__ = [
    "EXACT",
    "FORMAT",
    "KEY",
    "LARGEST",
    "LOCK",
    "LOOSE",
    "MANIFEST",
    "OPEN",
    "PACKED",
    "SUM",
    "Whole",
    "adapter",
    "alone",
    "cache_folder",
    "check_free",
    "check_same",
    "check_tensors",
    "check_values",
    "checked_moments",
    "foreign",
    "inside",
    "locked",
    "moments",
    "open_folder",
    "own",
    "packed",
    "parse",
    "parse_json",
    "parse_lines",
    "parse_metadata",
    "parse_tensors",
    "place",
    "read",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_manifest",
    "read_metadata",
    "read_summed",
    "read_tensors",
    "real",
    "recover",
    "refuse_links",
    "seal",
    "sum_of",
    "tensor_bytes",
    "typed",
    "unfinished",
    "unpacked",
    "utf8",
    "without_sum",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_summed",
    "write_tensors",
]
