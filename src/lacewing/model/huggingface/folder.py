"""A folder of Hugging Face, looked at before a library opens anything in it.

Links lead nowhere out of the folder, but for those of the Hub's cache into its own blobs. Texts
have a bounded size, and JSON a bounded depth. Weights are safetensors, and the configuration asks
for no more of them than there are. Nothing that would have to be run or fetched is there.
"""

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.tokenizer import LARGEST, check_sizes
from lacewing.errors import ArtifactError

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
HEADER = 10**8
"""Bytes of the largest header that safetensors reads."""
TEXTS = (".json", ".txt", ".model", ".jinja")
READ = (*TEXTS, ".safetensors")
"""What libraries open of such a folder."""
SIZES: Mapping[str, int] = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1024),
    **dict.fromkeys(("hidden_size", "n_embd"), 2**16),
    **dict.fromkeys(("intermediate_size", "n_inner"), 2**20),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads", "head_dim"), 2**14),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 2**25),
    "vocab_size": 2**20,
}
"""The sizes in a configuration, and what is beyond any that is meant."""
IGNORED = ("architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path")
"""Keys of a configuration that no logit depends on; nor on `auto_map`, whose code is not run."""


@dataclass(frozen=True)
class Folder:
    """What was found."""

    path: Path
    config: Mapping[str, Any]
    """config.json."""
    architecture: str
    weights: tuple[Path, ...]
    """The files of weights, all of them there."""

    @property
    def meant(self) -> dict[str, Any]:
        """The configuration as far as the model depends on it, for its id."""
        gone = {*IGNORED, "auto_map"}
        return {key: value for key, value in self.config.items() if key not in gone}


@dataclass(frozen=True)
class Index:
    """Which shard holds which weight."""

    __pydantic_config__ = artifacts.LOOSE

    weight_map: dict[str, str]


def look(path: Path) -> Folder:
    """Look at a folder.

    Raises:
        ArtifactError: a file is missing, a link out of the folder, of another kind than a plain
            file, too large or damaged; or the model is one that is not opened.
    """
    root = _root(path)
    found = {entry.name: _plain(Path(entry.path), root) for entry in _entries(path)}
    for name in sorted(found):
        if name.endswith(".json") and found[name]:
            plain = artifacts.read_json(path / name)
            if name == "tokenizer.json":
                check_sizes(plain, path / name)
    if "adapter_config.json" in found:
        raise ArtifactError(f"{path} holds an adapter, no whole model: merge it into its model")
    config = artifacts.read_json(path / "config.json")
    if not isinstance(config, dict):
        raise ArtifactError(f"{path / 'config.json'} holds no JSON object")
    return Folder(path, config, _architecture(path, config), _weights(path, root))


def _root(path: Path) -> Path:
    """What links may lead to: the folder, or that of the model in the Hub's cache."""
    real = Path(os.path.realpath(path))
    return real.parent.parent if real.parent.name == "snapshots" else real


def _entries(path: Path) -> Iterator[os.DirEntry[str]]:
    try:
        yield from os.scandir(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def _plain(file: Path, root: Path) -> bool:
    """Whether something in the folder is a plain file that a library would open, and may."""
    if file.suffix not in READ and not file.is_dir():
        return False
    try:
        facts = file.stat()
    except OSError as error:
        raise ArtifactError(f"cannot read {file}: {error.strerror or error}") from error
    if not Path(os.path.realpath(file)).is_relative_to(root):
        raise ArtifactError(
            f"{file} is a link out of its folder, and was not opened: copy the file there instead"
        )
    if stat.S_ISDIR(facts.st_mode):
        return False
    if not stat.S_ISREG(facts.st_mode):
        raise ArtifactError(f"{file} is no plain file: damaged or foreign")
    if file.suffix in TEXTS and facts.st_size > LARGEST:
        raise ArtifactError(f"{file} has {facts.st_size:,} bytes, at most {LARGEST:,} are read")
    return True


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    """The architecture that a configuration names, after its sizes were looked at."""
    file = path / "config.json"
    if config.get("quantization_config") is not None:
        raise ArtifactError(f"{path} is quantized: save it in full precision")
    for name, most in SIZES.items():
        value = config.get(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and 1 <= value <= most):
            raise ArtifactError(
                f"{file}: {name} must be a whole number from 1 to {most:,}, not {value!r:.40}"
            )
    if (odd := next(_odd(config), None)) is not None:
        raise ArtifactError(f"{file} holds {odd}, which is no finite number: damaged or foreign")
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else "none"
    if not isinstance(first, str):
        raise ArtifactError(f"{file}: architectures must be names, not {first!r:.40}")
    return first


def _odd(value: object) -> Iterator[float]:
    """The numbers in a configuration that are infinite or none: libraries compute with them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield value
    inside = value.values() if isinstance(value, dict) else value
    for one in inside if isinstance(inside, Iterable) and not isinstance(inside, str) else ():
        yield from _odd(one)


def _weights(path: Path, root: Path) -> tuple[Path, ...]:
    """The files of weights, all of them there."""
    if (path / INDEX).exists():
        shards = sorted(set(artifacts.read(path / INDEX, Index).weight_map.values()))
        if odd := [name for name in shards if not name.endswith(".safetensors")]:
            raise ArtifactError(
                f"{path / INDEX} names {odd[0]!r:.60}: only safetensors are read, no pickles"
            )
        files = tuple(artifacts.inside(path, name, root) for name in shards)
        missing = [file.name for file in files if not file.is_file()]
        if missing or not files:
            raise ArtifactError(
                f"{path} lacks {missing[0] if missing else 'weights'}, {len(missing)} of "
                f"{len(shards)} shards: fetch it again"
            )
        return files
    if not (path / WHOLE).is_file():
        raise ArtifactError(
            f"{path} has no {WHOLE}: pickled weights are not read, nor is GGUF; save the model "
            "with save_pretrained (recipes/smollm2.py does it for a GGUF file)"
        )
    return (path / WHOLE,)


def _check_size(file: Path) -> None:
    """Refuse a file whose header and size do not belong together, before it is mapped.

    Raises:
        ArtifactError: they do not.
    """
    size = file.stat().st_size
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= min(size - 8, HEADER):
            raise ArtifactError(f"{file} is damaged or cut short: a header of {length:,} bytes")
        header = artifacts.parse_json(opened.read(length), file)
    rows = header.values() if isinstance(header, dict) else ()
    offsets = [row.get("data_offsets") for row in rows if isinstance(row, dict)]
    ends = [o[1] for o in offsets if isinstance(o, list) and len(o) == 2 and isinstance(o[1], int)]
    if 8 + length + max(ends, default=0) != size:
        raise ArtifactError(f"{file} is damaged or cut short: its header says another size")


def numbers_in(files: tuple[Path, ...]) -> int:
    """How many numbers some files of weights hold.

    Raises:
        ArtifactError: one is damaged.
    """
    from math import prod

    from safetensors import safe_open

    numbers = 0
    for file in files:
        _check_size(file)
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  it is no mapping
                    numbers += prod(opened.get_slice(key).get_shape())
        except Exception as error:  # the library has several errors of its own
            raise ArtifactError(f"{file} is damaged or cut short ({error})") from error
    return numbers
