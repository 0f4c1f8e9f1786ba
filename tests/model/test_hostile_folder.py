"""Folders of Hugging Face that were damaged, or made to do harm: one line, nothing opened."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

import micro  # noqa: E402
from lacewing import artifacts  # noqa: E402
from lacewing.errors import LacewingError  # noqa: E402
from lacewing.model.store import load  # noqa: E402

CONFIG, WORDS = "config.json", "tokenizer_config.json"
MEANS, WEIGHTS = "lacewing.means.safetensors", "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path, text: Path) -> Path:
    """A tiny model of GPT-2's layout, whose means are measured on a small corpus."""
    letters, place = micro.tokenizer(), tmp_path / "model"
    torch.manual_seed(0)
    sizes = {"n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(vocab_size=letters.vocab_size, **sizes)
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    letters.save(place / "tokenizer.json")
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (place / WORDS).write_text(json.dumps(said))
    (place / "lacewing.json").write_text(json.dumps({"corpus": str(text)}))
    return place


def said_of(folder: Path, **changes: Any) -> None:
    """Change its configuration."""
    plain = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(plain))


def link_out(folder: Path) -> None:
    """Its tokenizer is a link to a file elsewhere."""
    (folder / "tokenizer.json").rename(folder.parent / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(folder.parent / "elsewhere.json")


def pipe(folder: Path) -> None:
    """A file that nobody writes to."""
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")


def shard(folder: Path, name: str) -> None:
    """Its weights are said to be elsewhere, or a pickle."""
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def not_finite(folder: Path) -> None:
    """One weight is none."""
    found = artifacts.read_tensors(folder / WEIGHTS)
    name = next(iter(found))
    found[name].view(-1)[0] = torch.nan
    artifacts.write_tensors(folder / WEIGHTS, found, {"format": "pt"})


def deep(folder: Path) -> None:
    """JSON that Python would not come back from."""
    (folder / WORDS).write_text("[" * 100_000 + "]" * 100_000)


def vast(folder: Path) -> None:
    """Six gigabytes that hold nothing."""
    os.truncate(folder / WORDS, 6 * 2**30)


def adapter(folder: Path) -> None:
    """Some of its weights are another model's."""
    (folder / "adapter_config.json").write_text("{}")


CODE = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (link_out, "is a link out of its folder"),
        (pipe, "no plain file"),
        (lambda f: shard(f, "../elsewhere.safetensors"), "lies outside"),
        (lambda f: shard(f, "pytorch_model.bin"), "no pickles"),
        (not_finite, "not finite"),
        (deep, "is not JSON"),
        (vast, "bytes, at most"),
        (adapter, "holds an adapter"),
        (lambda f: said_of(f, quantization_config={"quant_method": "gptq"}), "is quantized"),
        (lambda f: said_of(f, n_layer=10**7), "n_layer must be a whole number from 1 to 1,024"),
        (lambda f: said_of(f, n_layer=900), "its config.json asks for"),
        (lambda f: said_of(f, architectures=[["GPT2LMHeadModel"]]), "must be names"),
        (lambda f: said_of(f, activation_function="nonsense"), "transformers refuses"),
        (lambda f: said_of(f, model_type="evil", auto_map=CODE), "transformers refuses"),
        (lambda f: said_of(f, layer_norm_epsilon=-1e30), "not finite"),
        (lambda f: said_of(f, resid_pdrop=float("nan")), "nan, which is no finite number"),
        (lambda f: said_of(f, own={"a": [1, float("inf")]}), "inf, which is no finite number"),
    ],
)
def test_harm_is_one_line(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    """Whatever is wrong is said, and nobody is asked whether code should be run."""
    harm(folder)
    with pytest.raises(LacewingError, match=said) as raised:
        load(f"hf:{folder}")
    assert "\n" not in str(raised.value)


def test_damaged_means_are_not_believed(folder: Path) -> None:
    """One bit of a mean is another bit: nothing is measured with it."""
    load(f"hf:{folder}")
    content = bytearray((folder / MEANS).read_bytes())
    content[-2] ^= 1
    (folder / MEANS).write_bytes(content)
    with pytest.raises(LacewingError, match="has other means than were written"):
        load(f"hf:{folder}")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (CONFIG, {"layer_norm_epsilon": 0.1}),
        (CONFIG, {"scale_attn_weights": False}),
        (WORDS, {"eos_token": "a"}),
    ],
)
def test_the_id_covers_what_is_beside_the_weights(
    folder: Path, file: str, changes: dict[str, Any]
) -> None:
    """A circuit is refused by a model that computes something else with the same weights."""
    before = load(f"hf:{folder}").id
    plain = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(plain))
    if file == WORDS:  # this tokenizer has an end of a text of its own
        said = (folder / "tokenizer.json").read_text().replace("<|endoftext|>", "<|end|>")
        (folder / "tokenizer.json").write_text(said)
    after = load(f"hf:{folder}").id
    assert after.partition("-")[0] == before.partition("-")[0]
    assert after != before


def test_the_hubs_own_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """In its cache a snapshot is links to blobs beside it."""
    blobs = tmp_path / "cache" / "blobs"
    snapshot = tmp_path / "cache" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert load(f"hf:{snapshot}").network.config.n_layer == 1


def test_no_corpus_is_fetched_that_a_file_names(folder: Path) -> None:
    """A model that says it read a data set of the Hub does not make anybody fetch it."""
    (folder / "lacewing.json").write_text(json.dumps({"corpus": "code:hub:evil/data"}))
    with pytest.raises(LacewingError, match="nothing is fetched unless you ask"):
        load(f"hf:{folder}")
