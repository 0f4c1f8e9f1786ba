"""Released models: every variant agrees with a second reader; files that are not one say so."""

import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from plain import Plain
from release import BASE, VARIANTS, made, write_model, write_tokenizer

import lacewing
from lacewing.errors import ArtifactError
from lacewing.interop.openai.config import CONFIG, read_config
from lacewing.interop.openai.model import import_model
from lacewing.interop.openai.weights import WEIGHTS, read_network


def read(folder: Path) -> Any:
    return read_network(folder / WEIGHTS, read_config(folder / CONFIG))


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_readers_agree(variant: str, tmp_path: Path) -> None:
    config, weights = made(variant)
    network = read(write_model(tmp_path / "model", config, weights))
    tokens = torch.randint(270, (3, 40), generator=torch.Generator().manual_seed(1))
    if "n_mlp" in config:
        config = {**config, "d_mlp": config["n_mlp"]}
    whole = {name: tensor.float() for name, tensor in weights.items()}
    for name in (name for name in whole if "sink" in name):  # what is shared, for every head
        whole[name] = whole[name].expand(4)
    second = Plain(config, whole)
    expected = second(tokens)
    assert expected.abs().mean() > 0.5
    torch.testing.assert_close(network(tokens), expected, atol=1e-5, rtol=1e-5)
    last = torch.tensor([39, 3, 17])
    at = expected[torch.arange(3), last]
    torch.testing.assert_close(network(tokens, at=last), at, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "part", ["sink_logit", "wpe", "ln_p1", "ln_p2", "bigram_table", "final_logits_bias"]
)
def test_no_part_is_read_and_passed_over(part: str, tmp_path: Path) -> None:
    config, weights = made("output bias and sinks")
    tokens = torch.arange(20)[None]
    before = read(write_model(tmp_path / "model", config, weights))(tokens)
    for name in weights:
        if part in name:
            weights[name] = 3 * torch.rand_like(weights[name])
    after = read(write_model(tmp_path / "model", config, weights))(tokens)
    assert not torch.allclose(before, after, atol=1e-2)


def test_what_is_nothing_is_left_out(tmp_path: Path) -> None:
    config, weights = made("no positions")
    network = read(write_model(tmp_path / "model", config, weights))
    assert not network.config.added_positions
    assert network.wpe is None
    assert network.output_bias is None


def test_a_model_folder(tmp_path: Path, text: Path) -> None:
    config, weights = made("yolo2")
    folder = write_model(tmp_path / "models" / "csp_test", config, weights)
    write_tokenizer(tmp_path / "tinypython")
    said = import_model(folder, tmp_path / "ours", corpus=str(text), quiet=True)
    model = lacewing.load(tmp_path / "ours")
    tokens = torch.arange(30)[None]
    assert torch.equal(model.network(tokens), read(folder)(tokens))
    assert model.training["pfrac"] == 0.5
    assert model.training["released_as"] == "csp_test"
    assert model.validation_loss == said["validation_loss"]
    assert model.means["0.attn_in"].shape == (21,)
    assert model.generate("a", 2, temperature=0)
    with pytest.raises(ArtifactError, match="exists already"):
        import_model(folder, tmp_path / "ours", corpus=str(text))


def test_without_a_tokenizer_nothing_is_written(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a" / "b" / "model", *made("sweep"))
    with pytest.raises(ArtifactError, match=r"no tokenizer: put tokenizer\.json"):
        import_model(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mup": True}, "mup is True; False or None is supported"),
        ({"unembed_rank": 8}, "unembed_rank is 8; None"),
        ({"swiglu": True}, "'swiglu', which is not known here"),
        ({"afrac_approx": 1}, "afrac_approx is 1; False"),
        ({"n_embd": 4}, "n_embd is 4; None or 16"),
        ({"rms_norm": False}, "rms_norm is False; True"),
        ({"rms_norm": ...}, "has no rms_norm"),
        ({"tied_unembed": ...}, "has no tied_unembed"),
        ({"afrac": ...}, "has no afrac"),
        ({"afrac": "0.25"}, "afrac is '0.25'"),
        ({"afrac": float("nan")}, "afrac: nan, which is no finite number"),
        ({"afrac": 0.01}, "keeps none of the"),
        ({"afrac_loctypes": ...}, "has no afrac_loctypes"),
        ({"afrac_loctypes": "attn_in,y"}, "afrac_loctypes has 'y'"),
        ({"afrac_loctypes": "attn_in, attn_out"}, "afrac_loctypes has ' attn_out'"),
        ({"n_layer": 10**9}, "n_layer is 1000000000; a whole number from 1 to 1,024"),
        ({"n_layer": True}, "n_layer is True"),
        ({"d_head": 8}, "4 heads of 8 are 32 channels, d_model is 16"),
        ({"residual_activation_type": "relu"}, "residual_activation_type is 'relu'"),
        ({"activation_type": "swish"}, "activation_type is 'swish'; one of gelu, relu"),
    ],
)
def test_a_configuration_that_could_be_another_model(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    config = {k: v for k, v in (BASE | changes).items() if v is not ...}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=said):
        read_config(tmp_path / CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("transformer.h.1.mlp.c_fc.bias", None, r"lacks transformer\.h\.1\.mlp\.c_fc\.bias"),
        ("transformer.h.0.attn.attn_imp.sink_logit", torch.zeros(4), "does not ask for"),
        ("lm_head.bias", torch.zeros(270), "'lm_head.bias', which its configuration does not"),
        ("transformer.wte.weight", torch.zeros(270, 17), r"is \(270, 17\), .* says \(270, 16\)"),
        ("transformer.wte.weight", torch.zeros(1, 1).expand(270, 16), "more values than the file"),
        ("lm_head.weight", torch.zeros(270, 16).to_sparse(), "dense numbers are wanted"),
        ("lm_head.weight", torch.zeros(270, 16, device="meta"), "on meta: dense numbers"),
        ("lm_head.weight", torch.zeros(270, 16, dtype=torch.complex64), "dense numbers"),
        ("lm_head.weight", torch.zeros(270, 16, dtype=torch.long), "dense floats are wanted"),
        ("lm_head.weight", torch.full((270, 16), torch.nan), "not finite"),
        ("step", 5, "entry 'step' is a int, not a tensor"),
    ],
)
def test_weights_that_do_not_fit(name: str, value: Any, said: str, tmp_path: Path) -> None:
    config, weights = made("sweep")
    changed = {k: v for k, v in weights.items() if k != name} | {name: value}
    changed = {k: v for k, v in changed.items() if v is not None}
    folder = write_model(tmp_path, config, changed)
    with pytest.raises(ArtifactError, match=said):
        read(folder)


def test_a_tie_that_is_none(tmp_path: Path) -> None:
    config, weights = made("tied")
    other = {**weights, "lm_head.weight": weights["lm_head.weight"] + 1}
    with pytest.raises(ArtifactError, match=r"lm_head\.weight is not transformer\.wte\.weight"):
        read(write_model(tmp_path, config, other))
    del other["lm_head.weight"]
    network = read(write_model(tmp_path / "alone", config, other))
    assert torch.equal(network.lm_head.weight, network.wte.weight)


def test_a_loss_that_is_not_finite_is_not_written(tmp_path: Path, text: Path) -> None:
    """Weights that are finite, and overflow when they are used."""
    config, weights = made("sweep")
    weights["transformer.ln_f.weight"][0] = 3e38
    write_model(tmp_path / "model", config, weights)
    write_tokenizer(tmp_path / "model")
    with pytest.raises(ArtifactError, match="damaged or of another model; nothing was written"):
        import_model(tmp_path / "model", tmp_path / "ours", corpus=str(text), quiet=True)
    assert not (tmp_path / "ours").exists()


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def hostile(kind: str, trace: Path) -> bytes:
    """A file that is none of a model's."""
    buffer = io.BytesIO()
    if kind == "plain pickle":
        return pickle.dumps({"a": Bomb(trace)})
    if kind == "in a zip":
        torch.save({"transformer.wte.weight": Bomb(trace)}, buffer)
    elif kind == "old format":
        torch.save({"a": Bomb(trace)}, buffer, _use_new_zipfile_serialization=False)
    elif kind == "bare tensor":
        torch.save(torch.zeros(3), buffer)
    elif kind == "list":
        torch.save([torch.zeros(3)], buffer)
    elif kind == "cut short":
        torch.save(made("sweep")[1], buffer)
        return buffer.getvalue()[:-2000]
    elif kind == "another zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("readme.txt", "nothing")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "plain pickle",
        "in a zip",
        "old format",
        "bare tensor",
        "list",
        "cut short",
        "another zip",
        "",
    ],
)
def test_hostile_files_run_nothing_and_say_one_line(kind: str, tmp_path: Path) -> None:
    config, weights = made("sweep")
    folder = write_model(tmp_path / "model", config, weights)
    trace = tmp_path / "ran"
    (folder / WEIGHTS).write_bytes(hostile(kind, trace))
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        with pytest.raises(ArtifactError) as caught:
            read(folder)
    assert more == []
    assert not trace.exists()
    said = str(caught.value)
    assert WEIGHTS in said
    assert "\n" not in said
    if kind in ("plain pickle", "in a zip", "old format", "cut short"):
        assert "nothing in it was run" in said


def test_the_bombs_are_live(tmp_path: Path) -> None:
    pickle.loads(hostile("plain pickle", tmp_path / "ran"))
    assert (tmp_path / "ran").exists()
