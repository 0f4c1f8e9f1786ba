"""A model sent to a Hub and loaded from there, by the command that a user types.

The client asks for the Hub's address as it is imported, so all of it is one program.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import TOKEN, hub

import lacewing
import micro
from lacewing.model.store import Model

pytest.importorskip("transformers", reason="transformers is not installed")

from lacewing.interop.huggingface import to_huggingface

PROGRAM = """
import json, os, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from lacewing.cli.app import main

def push(name, *more):
    try:
        main(["export", "huggingface", sys.argv[1], "--push", name, *more])
    except SystemExit as stop:
        return stop.code
    return 0

codes = [push("me/small", "--private"), push("not a name")]
model = AutoModelForCausalLM.from_pretrained("me/small", trust_remote_code=True)
words = AutoTokenizer.from_pretrained("me/small", trust_remote_code=True)
with torch.no_grad():
    total = model(torch.arange(12)[None]).logits.double().sum().item()
os.environ["HF_TOKEN"] = "hf_wrong"
codes.append(push("me/small"))
print(json.dumps([codes, total, words("abc")["input_ids"]]))
"""


def test_there_and_back(model: Model, tmp_path: Path, environment: dict[str, str]) -> None:
    run = micro.write_run(model, tmp_path / "run")
    with hub() as here:
        more = {"HF_ENDPOINT": here.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(run)],
            env={**environment, **more, "HF_HUB_OFFLINE": "0"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert here.private == {"me/small": True}
    needed = {"README.md", "config.json", "model.safetensors", "modeling_lacewing.py"}
    assert (
        needed | {"tokenizer.json", "lacewing.means.safetensors"}
        <= here.repositories["me/small"].keys()
    )
    codes, total, ids = json.loads(done.stdout.splitlines()[-1])
    loaded = lacewing.load(run)
    with torch.no_grad():
        expected = to_huggingface(loaded)(torch.arange(12)[None]).logits.double().sum().item()
    assert total == expected
    assert ids == loaded.tokenizer.encode("abc")
    assert f"{here.address}/me/small: model {loaded.id}" in done.stdout
    assert "from_pretrained('me/small'" in done.stdout
    assert codes == [0, 2, 2]
    refused = [line for line in done.stderr.splitlines() if "did not take" in line]
    assert ["not a name" in line for line in refused] == [True, False]
    assert all("hf auth login" in line for line in refused)
    assert "Traceback" not in done.stderr
