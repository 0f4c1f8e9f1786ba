"""Our models in transformers: to the bit there and back, with lacewing and without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lacewing
import micro
from lacewing.errors import ArtifactError
from lacewing.model.store import Model, weights_id
from lacewing.model.transformer import Transformer

pytest.importorskip("transformers", reason="transformers is not installed")

from release import made, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from lacewing.interop.huggingface import LacewingForCausalLM, save_pretrained, to_huggingface
from lacewing.interop.openai.config import read_config
from lacewing.interop.openai.weights import read_network

VARIANTS = ("yolo2", "sweep", "dense", "output bias and sinks", "residual", "relu", "no table")
ALONE = os.environ.get("LACEWING_ALONE")
"""A Python that has transformers and torch and no lacewing; `make doors` makes one."""
WITHOUT = """
import importlib.util, sys
if len(sys.argv) < 3:
    sys.modules["lacewing"] = None
assert len(sys.argv) < 3 or importlib.util.find_spec("lacewing") is None
import json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
words = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
with torch.no_grad():
    logits = model(torch.arange(12)[None]).logits
made = model.generate(**words("abc", return_tensors="pt"), max_new_tokens=4, do_sample=False)
print(json.dumps([type(model).__name__, logits.double().sum().item(), made[0].tolist()]))
"""


def model_of(network: Transformer) -> Model:
    """A model around random weights."""
    busy = micro.busy(8)
    return Model(
        network=network,
        tokenizer=busy.tokenizer,
        means={},
        id=weights_id(network),
        source="random",
        corpus="standard_library",
        validation_loss=1.0,
        training={"density": 0.5},
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_ours(variant: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path, *made(variant))
    network = read_network(folder / "final_model.pt", read_config(folder / "beeg_config.json"))
    theirs = to_huggingface(model_of(network))
    tokens = torch.randint(270, (3, 30), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, network(tokens), atol=1e-5, rtol=1e-5)


def test_there_and_back_to_the_bit(busy: Model, tmp_path: Path) -> None:
    folder = save_pretrained(busy, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert type(again) is LacewingForCausalLM
    first = to_huggingface(busy)
    for name, tensor in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    tokens = torch.randint(busy.network.config.vocab_size, (2, 16))
    assert torch.equal(again(tokens).logits, first(tokens).logits)
    again.save_pretrained(tmp_path / "twice")
    whole = "model.safetensors"
    assert (tmp_path / "twice" / whole).read_bytes() == (folder / whole).read_bytes()


def test_lacewing_opens_it_as_the_same_model(busy: Model, tmp_path: Path) -> None:
    folder = save_pretrained(busy, tmp_path / "out")
    back = lacewing.load(f"hf:{folder}")
    assert isinstance(back.network, Transformer)
    assert back.id == busy.id
    assert back.tokenizer.id == busy.tokenizer.id
    assert back.validation_loss == busy.validation_loss
    for key, mean in busy.means.items():
        assert torch.equal(back.means[key], mean)
    tokens = torch.randint(busy.network.config.vocab_size, (2, 16))
    assert torch.equal(back.network(tokens), busy.network(tokens))


def test_generate_goes_on_as_ours_does(busy: Model, tmp_path: Path) -> None:
    folder = save_pretrained(busy, tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)
    for prompt in ("a", "x = [", "a longer prompt that fills more than the context of sixteen"):
        given = words(prompt, return_tensors="pt")
        made_ids = theirs.generate(**given, max_new_tokens=6, do_sample=False)[0]
        new = made_ids[given["input_ids"].shape[1] :].tolist()
        if words.eos_token_id in new:
            new = new[: new.index(words.eos_token_id)]
        assert busy.tokenizer.decode(new) == busy.generate(prompt, 6, temperature=0)


def test_padding_on_the_left_changes_nothing(busy: Model) -> None:
    theirs = to_huggingface(busy)
    tokens = torch.arange(9)[None] + 40
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), tokens], dim=1)
    mask = torch.cat([torch.zeros(1, 4), torch.ones(1, 9)], dim=1)
    with torch.no_grad():
        alone, beside = theirs(tokens).logits, theirs(padded, attention_mask=mask).logits[:, 4:]
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-5)


@pytest.mark.long
def test_without_lacewing(busy: Model, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = save_pretrained(busy, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_lacewing.LacewingForCausalLM"
    setting = {**environment, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    if ALONE:
        del setting["PYTHONPATH"]
    done = subprocess.run(
        [ALONE or sys.executable, "-c", WITHOUT, str(folder), *(["alone"] if ALONE else [])],
        env=setting,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("["))
    name, total, ids = json.loads(said)
    assert name == "LacewingForCausalLM"
    ours = to_huggingface(busy)
    with torch.no_grad():
        assert total == ours(torch.arange(12)[None]).logits.double().sum().item()
    given = torch.tensor([busy.tokenizer.encode("abc")])
    assert ids == ours.generate(given, max_new_tokens=4, do_sample=False)[0].tolist()


def test_the_card_says_what_the_run_says(busy: Model, tmp_path: Path) -> None:
    text = (save_pretrained(busy, tmp_path / "out") / "README.md").read_text()
    assert "weight-sparse" in text.split("---")[1]
    assert f"Id `{busy.id}`" in text
    share = (busy.network.blocks[0].mlp_proj.weight != 0).float().mean().item()
    assert f"{share:.4g}" in text


def test_a_folder_with_something_in_it_stays(busy: Model, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ArtifactError, match="exists already"):
        save_pretrained(busy, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
