"""A model sent to a Hub and loaded from there, by the commands that a user types."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import TOKEN, Hub, hub

import lacewing
import micro
from lacewing.model.store import Model

pytest.importorskip("transformers", reason="transformers is not installed")

from lacewing.interop.huggingface import to_huggingface

LOAD = """
import sys
sys.modules["lacewing"] = None
import json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("me/small", trust_remote_code=True)
words = AutoTokenizer.from_pretrained("me/small", trust_remote_code=True)
with torch.no_grad():
    logits = model(torch.arange(12)[None]).logits
print(json.dumps([logits.double().sum().item(), words("abc")["input_ids"]]))
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Hub]:
    """A Hub on this machine."""
    with hub() as server:
        yield server


def typed(
    words: list[str], place: Hub, home: Path, environment: dict[str, str], token: str
) -> subprocess.CompletedProcess[str]:
    """A program that takes this machine for the Hub."""
    more = {"HF_ENDPOINT": place.address, "HF_HOME": str(home), "HF_TOKEN": token}
    return subprocess.run(
        [sys.executable, *words],
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_there_and_back(
    here: Hub, model: Model, tmp_path: Path, environment: dict[str, str]
) -> None:
    run = micro.write_run(model, tmp_path / "run")
    words = ["-m", "lacewing", "export", "huggingface", str(run), "--push", "me/small", "--private"]
    done = typed(words, here, tmp_path / "home", environment, TOKEN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{here.address}/me/small" in done.stdout
    assert here.private["me/small"]
    sent = here.repositories["me/small"]
    needed = {"README.md", "config.json", "model.safetensors", "modeling_lacewing.py"}
    assert needed | {"tokenizer.json", "means.safetensors"} <= sent.keys()
    back = typed(["-c", LOAD], here, tmp_path / "home", environment, "")
    assert back.returncode == 0, back.stderr[-3000:]
    total, ids = json.loads(back.stdout.splitlines()[-1])
    loaded = lacewing.load(run)
    with torch.no_grad():
        expected = to_huggingface(loaded)(torch.arange(12)[None]).logits.double().sum().item()
    assert total == expected
    assert ids == loaded.tokenizer.encode("abc")


@pytest.mark.parametrize(("name", "token"), [("me/small", "hf_wrong"), ("not a name", TOKEN)])
def test_what_the_hub_does_not_take_is_one_line(
    name: str,
    token: str,
    here: Hub,
    model: Model,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    run = micro.write_run(model, tmp_path / "run")
    words = ["-m", "lacewing", "export", "huggingface", str(run), "--push", name]
    done = typed(words, here, tmp_path / "home", environment, token)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "did not take" in line]
    assert name in line
    assert "hf auth login" in line
    assert "Traceback" not in done.stderr
