"""Models and circuits of sparse_pretrain, and the traps of their format."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from plain import Plain
from release import BASE, EIGHT, weights

import lacewing
import micro
from lacewing.circuit.circuit import Circuit
from lacewing.errors import ArtifactError, ConfigError, MismatchError
from lacewing.interop.sparse_pretrain.circuit import import_circuit
from lacewing.interop.sparse_pretrain.model import import_model, read_config, read_network
from lacewing.model.store import Model

TEN = EIGHT + ",resid_mid,resid_pre"
SHAPE: dict[str, Any] = {
    "n_layer": 2,
    "d_model": 16,
    "n_ctx": 40,
    "d_head": 4,
    "d_mlp": 24,
    "vocab_size": 270,
    "use_rms_norm": True,
    "tie_embeddings": False,
    "use_positional_embeddings": False,
    "use_bigram_table": False,
    "use_attention_sinks": True,
    "activation": "gelu",
    "dropout": 0.0,
    "use_bias": True,
}


def repository(
    folder: Path, sites: str | None = EIGHT, bridges: bool = False, **changes: Any
) -> Any:
    """Files as its uploaders write them; returns the second reader of the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "model_config": SHAPE | changes,
        "sparsity_config": {
            "enable_weight_sparsity": True,
            "target_l0_fraction": 0.5,
            "enable_activation_sparsity": True,
            "activation_topk_fraction": 0.25,
        },
        "training_config": {"tokenizer_name": "SimpleStories/SimpleStories-1.25M"},
    }
    if bridges:
        said["bridges_config"] = {"encoder_afrac": 0.25, "d_dense": "somebody/dense"}
    (folder / "config.json").write_text(json.dumps(said))
    if sites is not None:
        more = {"sparsity": {"activation_sparsity_locations": sites}}
        (folder / "training_config.yaml").write_text(yaml.safe_dump(more))
    config = BASE | {"sink": True, "enable_bigram_table": False, "afrac_loctypes": sites or EIGHT}
    theirs = weights(config, {}, torch.Generator().manual_seed(0))
    theirs["transformer.wpe.weight"].zero_()
    named = {k: v for k, v in theirs.items() if "wpe" not in k}
    named = {_name(k): v for k, v in named.items()}
    torch.save(named, folder / ("sparse_model.bin" if bridges else "pytorch_model.bin"))
    text = micro.tokenizer().to_bytes().decode().replace('"<|endoftext|>"', '"[EOS]"')
    (folder / "tokenizer.json").write_text(text)
    return Plain(config, theirs)


def _name(name: str) -> str:
    for theirs, here in (("transformer.h.", "blocks."), ("transformer.", ""), ("imp", "fn")):
        name = name.replace(theirs, here)
    return name


def test_a_model_is_the_second_readers(tmp_path: Path) -> None:
    second = repository(tmp_path)
    model, about = read_config(tmp_path)
    network = read_network(tmp_path, model, biases=True)
    tokens = torch.randint(270, (2, 30), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(tokens), second(tokens), atol=1e-5, rtol=1e-5)
    assert about["tokenizer_name"] == "SimpleStories/SimpleStories-1.25M"


def test_ten_sites_with_bridges(tmp_path: Path) -> None:
    """AbsTopK before a block and in its middle: by hand, since the release has other places."""
    second = repository(tmp_path, TEN, bridges=True)
    model, about = read_config(tmp_path)
    assert about["bridges_d_dense"] == "somebody/dense"
    network = read_network(tmp_path, model, biases=True)
    tokens = torch.randint(270, (2, 30), generator=torch.Generator().manual_seed(1))
    x = second.weights["transformer.wte.weight"][tokens]
    for layer in range(2):
        block = f"transformer.h.{layer}"
        x = second.sparsify(x, "resid_pre")
        x = x + second.attention(second.read(x, x, block, 1), block)
        x = second.sparsify(x, "resid_mid")
        x = x + second.mlp(second.read(x, x, block, 2), block)
    logits = second.normed(x, "transformer.ln_f") @ second.weights["lm_head.weight"].T
    torch.testing.assert_close(network(tokens), logits, atol=1e-5, rtol=1e-5)


def test_a_model_folder_keeps_its_ids(tmp_path: Path, text: Path) -> None:
    repository(tmp_path / "theirs")
    import_model(tmp_path / "theirs", tmp_path / "ours", corpus=str(text), quiet=True)
    model = lacewing.load(tmp_path / "ours")
    assert model.tokenizer.encode("abc") == micro.tokenizer().encode("abc")
    assert model.tokenizer.end_of_text == micro.tokenizer().end_of_text
    assert model.training["target_l0_fraction"] == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sites": None}, "does not say where AbsTopK acts"),
        ({"sites": "attn_in,elsewhere"}, "AbsTopK at 'elsewhere'"),
        ({"use_rms_norm": False}, "use_rms_norm is False; True"),
        ({"use_rope": True}, "'use_rope', which is not known"),
        ({"n_layer": None}, "has no n_layer"),
    ],
)
def test_configurations_that_could_be_another_model(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    repository(tmp_path, **changes)
    with pytest.raises(ArtifactError, match=said):
        read_config(tmp_path)


def test_what_is_only_kept_has_to_be_finite(tmp_path: Path) -> None:
    """A number that nothing is computed with goes into our files, which hold finite ones."""
    repository(tmp_path)
    file = tmp_path / "config.json"
    said = json.loads(file.read_text())
    said["sparsity_config"]["target_l0_fraction"] = math.inf
    file.write_text(json.dumps(said))
    with pytest.raises(ArtifactError, match="target_l0_fraction: inf, which is no finite number"):
        read_config(tmp_path)


def test_sites_may_be_named(tmp_path: Path) -> None:
    repository(tmp_path, sites=None)
    model, _ = read_config(tmp_path, ("attn_in", "resid_mid"))
    assert model.abs_topk_sites == ("attn_in", "resid_mid")


def test_yaml_runs_nothing(tmp_path: Path) -> None:
    repository(tmp_path)
    bomb = f"sparsity: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']\n"
    (tmp_path / "training_config.yaml").write_text(bomb)
    with pytest.raises(ArtifactError, match="is no YAML"):
        read_config(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    ["!!float x", "!!timestamp x", "2001-99-99", "1" + "0" * 5000, "{[1]: 2}", "[&a a, *a]"],
)
def test_odd_yaml_is_one_line(tmp_path: Path, value: str) -> None:
    """Its constructors raise whatever they like."""
    repository(tmp_path)
    name = "activation_sparsity_locations"
    (tmp_path / "training_config.yaml").write_text(f"sparsity:\n  {name}: {value}\n")
    with pytest.raises(ArtifactError, match=r"is no YAML|no text of sites|is not known") as raised:
        read_config(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_bias_is_not_passed_over(tmp_path: Path) -> None:
    repository(tmp_path)
    found = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    del found["blocks.1.mlp.c_fc.bias"]
    torch.save(found, tmp_path / "pytorch_model.bin")
    model, _ = read_config(tmp_path)
    with pytest.raises(ArtifactError, match=r"lacks blocks\.1\.mlp\.c_fc\.bias"):
        read_network(tmp_path, model, biases=True)


def pruning(folder: Path, model: Model, **settings: Any) -> Path:
    """A pruning folder."""
    folder.mkdir()
    widths = {"attn_in": 8, "attn_q": 8, "mlp_neuron": 8}
    masks = {f"layer0_{site}": torch.zeros(width) for site, width in widths.items()}
    masks["layer0_mlp_neuron"][:2] = 1
    torch.save(masks, folder / "binary_masks.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump({"ablation_type": "zero"} | settings))
    results = {"task": "pronoun", "target_loss": 0.1, "final_metrics": {"task_loss": 0.09}}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "calibration.json").write_text('{"scale": 1.5, "shift": 3.0}')
    return folder


def test_a_circuit(tmp_path: Path, model: Model) -> None:
    width = model.network.config.d_model
    folder = pruning(tmp_path / "pruning", model)
    masks = {"layer0_mlp_neuron": torch.zeros(model.network.config.d_mlp)}
    masks["layer0_mlp_neuron"][:2] = 1
    masks["layer0_attn_q"] = torch.zeros(width)
    torch.save(masks, folder / "binary_masks.pt")
    pairs = micro.write_pairs(tmp_path / "pairs.jsonl", count=6)
    lines = [json.loads(line) | {"source": "x"} for line in pairs.read_text().splitlines()]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = import_circuit(folder, model, tmp_path / "circuit", pairs)
    circuit = Circuit.load(tmp_path / "circuit")
    circuit.check(model)
    assert circuit.nodes["0.mlp_neuron"].tolist() == [0, 1]
    assert len(circuit.nodes["0.attn_q"]) == 0
    assert len(circuit.nodes["0.attn_in"]) == model.network.config.d_read
    assert circuit.ablation == "zero"
    assert circuit.calibration is not None
    assert circuit.calibration.scale == 1.5
    assert circuit.target_loss == 0.1
    assert said["stored"] == {"task_loss": 0.09}
    assert said["full"] < 0.2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"freeze_layernorm_scale": True}, "frozen norms"),
        ({"ablation_type": "mean_task"}, "ablation 'mean_task'"),
    ],
)
def test_what_no_circuit_can_say(
    settings: dict[str, Any], said: str, tmp_path: Path, model: Model
) -> None:
    with pytest.raises(ConfigError, match=said):
        import_circuit(pruning(tmp_path / "p", model, **settings), model, tmp_path / "circuit")


@pytest.mark.parametrize(
    ("masks", "error", "said"),
    [
        ({"token_embed": torch.ones(258)}, ConfigError, "masks tokens of the embedding"),
        ({"layer7_attn_q": torch.ones(8)}, MismatchError, "'layer7_attn_q'"),
        ({"layer0_attn_q": torch.ones(3)}, MismatchError, r"is \(3,\), the site has"),
        (torch.ones(3), ArtifactError, "holds a Tensor, not masks"),
    ],
)
def test_masks_of_another_model(
    masks: Any, error: type[Exception], said: str, tmp_path: Path, model: Model
) -> None:
    folder = pruning(tmp_path / "p", model)
    torch.save(masks, folder / "binary_masks.pt")
    with pytest.raises(error, match=said):
        import_circuit(folder, model, tmp_path / "circuit")
