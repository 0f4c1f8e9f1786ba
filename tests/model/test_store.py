"""Models on disk: the round trip, the compact form, and every way a folder can be wrong."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError
from lacewing.model import compact, store
from lacewing.model.shipped import folder_of
from lacewing.model.store import COMPACT, MEANS, WHOLE


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, to damage."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def reseal(folder: Path) -> None:
    """A manifest that fits the files, as someone who edits a folder by hand would write it."""
    (folder / "manifest.json").unlink()
    names = [p.name for p in folder.iterdir() if p.is_file()]
    artifacts.seal(folder, "run", names)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks have the same parameters to the bit, zeros' signs included."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(t.view(torch.int32), theirs[n].view(torch.int32)) for n, t in ours.items()
    )


def test_a_run_loads_as_it_was_trained(run: Path) -> None:
    """Weights, id, means, tokenizer and loss are those the run's files say."""
    model = store.load(run)
    summary = json.loads((run / "summary.json").read_text())
    saved = artifacts.read_tensors(run / WHOLE)
    assert all(torch.equal(saved[n], t) for n, t in model.network.state_dict().items())
    assert summary["id"] == model.id
    weights, rest = model.id.split("-")
    assert (16, 8) == (len(weights), len(rest))
    assert summary["validation_loss"] == model.validation_loss
    assert not any(p.requires_grad for p in model.network.parameters())
    assert model.tokenizer.to_bytes() == (run / "tokenizer.json").read_bytes()


def test_the_id_follows_every_bit_of_the_weights(run: Path) -> None:
    """The smallest change of one weight makes another id."""
    model = store.load(run)
    weight = model.network.blocks[0].c_fc.weight
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    assert not store.same_model(model.id, now(model))
    assert store.weights_id(model.network) != model.id[:16]


def now(model: store.Model) -> str:
    """The id of a model as it is now."""
    return store.model_id(model.network, model.means, model.tokenizer)


def test_the_id_covers_all_that_computes(run: Path, copy: Path) -> None:
    """One bit of the means, one setting, one token: another model; old ids know the weights."""
    model = store.load(run)
    means = {key: mean.clone() for key, mean in model.means.items()}
    means["0.mlp_out"].view(torch.int32)[0] ^= 1
    others = [dataclasses.replace(model, means=means)]
    others.append(dataclasses.replace(model, tokenizer=Tokenizer.train(["b c"], 300)))
    others.append(dataclasses.replace(model, network=store.load(copy).network))
    config = dataclasses.replace(model.network.config, abs_topk=0.3)
    others[-1].network.config = config
    ids = {now(other) for other in others}
    assert 3 == len(ids - {model.id})
    for other in ids:
        assert not store.same_model(other, model.id)
        assert store.same_model(other, model.id[:16])
        assert store.same_model(model.id[:16], other)


def test_the_compact_form_is_exact_to_the_bit(copy: Path) -> None:
    """Written compact and read back, every weight has the same bits, -0.0 included."""
    network = store.load(copy).network
    network.blocks[0].c_fc.weight[0, :2] = torch.tensor([-0.0, 1e-40])
    store.write_compact(copy / COMPACT, network)
    (copy / WHOLE).unlink()
    reseal(copy)
    assert same(network, store.load(copy).network)


def test_the_compact_size_follows_the_nonzeros() -> None:
    """Six bytes a nonzero in float32, four in bfloat16, two a row; nothing for zeros."""
    for values, each in ((torch.tensor(0.1), 6), (torch.tensor(0.5), 4)):
        for count in (10, 1000):
            matrix = torch.zeros(100, 1000)
            matrix.view(-1)[torch.arange(count) * 97] = values
            packed, shapes = compact.pack({"w": matrix})
            size = sum(t.numel() * t.element_size() for t in packed.values())
            assert 200 + each * count == size
            assert torch.equal(
                matrix, compact.unpack(packed, shapes, {"w": (100, 1000)}, Path())["w"]
            )


def test_dense_tensors_are_written_whole() -> None:
    """A matrix with more than half nonzeros, and every vector, keeps its name and values."""
    tensors = {"w": torch.randn(6, 5), "b": torch.zeros(7)}
    packed, shapes = compact.pack(tensors)
    assert shapes == {}
    assert {"w", "b"} == set(packed)
    back = compact.unpack(packed, shapes, {"w": (6, 5), "b": (7,)}, Path())
    assert all(torch.equal(t, back[n]) for n, t in tensors.items())


@pytest.mark.parametrize("name", [WHOLE, MEANS])
def test_a_truncated_file_is_named(copy: Path, name: str) -> None:
    """A file cut short is found by the manifest, and by its own header if that was rewritten."""
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-100])
    with pytest.raises(ArtifactError, match=f"{name} has {len(content) - 100} bytes"):
        store.load(copy)
    reseal(copy)
    with pytest.raises(ArtifactError, match=f"{name} is truncated or no safetensors"):
        store.load(copy)


def test_foreign_weights_are_refused(copy: Path) -> None:
    """Text under the name of the weights is no safetensors file."""
    (copy / WHOLE).write_bytes(b"these are no weights")
    reseal(copy)
    with pytest.raises(ArtifactError, match="no safetensors file"):
        store.load(copy)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    """Another shape, or another set of names, is an error that names the tensor."""
    tensors = artifacts.read_tensors(copy / WHOLE)
    artifacts.write_tensors(copy / WHOLE, tensors | {"wte.weight": torch.zeros(3, 4)})
    reseal(copy)
    with pytest.raises(ArtifactError, match=r"wte\.weight is \(3, 4\).*another model"):
        store.load(copy)
    artifacts.write_tensors(copy / WHOLE, tensors | {"extra": torch.zeros(1)})
    reseal(copy)
    with pytest.raises(ArtifactError, match="another model: 'extra'"):
        store.load(copy)


def test_means_of_another_model_are_refused(copy: Path) -> None:
    """Means with a site missing do not belong to this model."""
    means = artifacts.read_tensors(copy / MEANS)
    del means["1.mlp_out"]
    artifacts.write_tensors(copy / MEANS, means)
    reseal(copy)
    with pytest.raises(ArtifactError, match=r"means.*'1\.mlp_out' is missing"):
        store.load(copy)


def test_a_foreign_compact_file_is_refused(copy: Path) -> None:
    """A compact file whose parts are missing is an error, not a crash."""
    metadata = {"wte.weight": "300x32"}
    artifacts.write_tensors(copy / COMPACT, {"x": torch.zeros(1)}, metadata=metadata)
    (copy / WHOLE).unlink()
    reseal(copy)
    with pytest.raises(ArtifactError, match="another model: 'bigram' is missing"):
        store.load(copy)


def test_settings_of_another_version_are_refused(copy: Path) -> None:
    """An unknown key of the model's configuration is named."""
    config = artifacts.read_json(copy / "config.json")
    config["model"]["rotary"] = True
    artifacts.write_json(copy / "config.json", config)
    reseal(copy)
    with pytest.raises(ArtifactError, match="rotary"):
        store.load(copy)


def test_an_unfinished_run_is_refused(copy: Path, tmp_path: Path) -> None:
    """Without its manifest, or without the folder, there is no model."""
    (copy / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"no manifest\.json: it is not a finished run"):
        store.load(copy)
    with pytest.raises(ArtifactError, match="no such folder"):
        store.load(tmp_path / "nowhere")


def test_an_unknown_builtin_is_refused() -> None:
    """A builtin name that does not exist lists those that do."""
    with pytest.raises(ArtifactError, match="no builtin model 'enormous'; there are:"):
        store.load("builtin:enormous")


def flip(path: Path, bit: int = -17) -> None:
    """Change one bit of a file's content, near its end."""
    content = bytearray(path.read_bytes())
    content[bit] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [WHOLE, MEANS, "config.json", "tokenizer.json", "summary.json"])
def test_one_flipped_bit_is_noticed(copy: Path, name: str) -> None:
    """In any file that the model is made of; nothing is computed with it."""
    flip(copy / name)
    with pytest.raises(ArtifactError, match=rf"{name} has another content than the manifest"):
        store.load(copy)


def test_one_flipped_bit_of_the_compact_form(copy: Path) -> None:
    """The same."""
    store.write_compact(copy / COMPACT, store.load(copy).network)
    (copy / WHOLE).unlink()
    reseal(copy)
    store.load(copy)
    flip(copy / COMPACT)
    with pytest.raises(ArtifactError, match="another content"):
        store.load(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_layer": 10**7}, "n_layer must be at most 1,024, not 10,000,000"),
        ({"n_layer": 1000}, "blocks.10.attn_proj.bias' is missing"),
        ({"d_mlp": 2**17, "n_layer": 1024, "d_model": 2**15}, "parameters: at most"),
        ({"abs_topk": "a"}, "abs_topk: "),
        ({"vocab_size": 299}, "of another model"),
        ({"d_position": -1}, "d_position must be at least 0"),
        ({"sinks": 1}, "model.sinks: "),
        ({"abs_topk_sites": ["attn_in", 3]}, "abs_topk_sites.1: "),
    ],
)
def test_a_resealed_configuration(copy: Path, changes: dict[str, object], said: str) -> None:
    """Sizes out of their bounds, and those the weights do not have, before memory is taken."""
    config = artifacts.read_json(copy / "config.json")
    config["model"] |= changes
    artifacts.write_json(copy / "config.json", config)
    reseal(copy)
    with pytest.raises(ArtifactError) as error:
        store.load(copy)
    assert said in str(error.value)


@pytest.mark.parametrize("name", [WHOLE, MEANS])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_resealed_numbers_that_are_not_finite(copy: Path, name: str, value: float) -> None:
    """Are refused by the name of the tensor."""
    tensors = artifacts.read_tensors(copy / name)
    first = sorted(tensors)[0]
    tensors[first].view(-1)[0] = value
    artifacts.write_tensors(copy / name, tensors)
    reseal(copy)
    with pytest.raises(ArtifactError, match=f"{name}: {first} holds numbers that are not finite"):
        store.load(copy)


def test_a_compact_file_that_asks_for_memory(copy: Path) -> None:
    """Its shapes are compared with the configuration before a matrix is made of them."""
    packed, shapes = compact.pack(store.parameters(store.load(copy).network))
    (copy / WHOLE).unlink()
    for odd in ("99999999x99999999", "-1x5", "x", "1x1"):
        changed = shapes | {next(iter(shapes)): odd}
        artifacts.write_tensors(copy / COMPACT, packed, metadata=changed)
        reseal(copy)
        with pytest.raises(ArtifactError, match="of another model"):
            store.load(copy)


def test_a_tokenizer_of_another_model(copy: Path) -> None:
    """One with more tokens than the model knows is refused before it is asked."""
    (copy / "tokenizer.json").write_bytes(load_bytes("builtin:taught-tiny"))
    reseal(copy)
    with pytest.raises(ArtifactError, match="has 1024 tokens, the model knows 300"):
        store.load(copy)


def load_bytes(source: str) -> bytes:
    """The tokenizer of a builtin model."""
    return (folder_of(source) / "tokenizer.json").read_bytes()


def test_a_file_that_is_far_too_large(copy: Path) -> None:
    """A terabyte that the manifest lists is not read, where the model needs a few bytes."""
    manifest = artifacts.read_json(copy / "manifest.json")
    del manifest["sha256"]
    for name in (WHOLE, MEANS):
        with open(copy / name, "wb") as file:
            file.truncate(2**40)  # a hole
        manifest["files"][name]["size"] = 2**40
    artifacts.write_json(copy / "manifest.json", manifest)
    with pytest.raises(ArtifactError, match=f"{WHOLE} has 1,099,511,627,776 bytes, where at most"):
        store.load(copy)
