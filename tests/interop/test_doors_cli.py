"""The verbs `import` and `export` as a user types them."""

import json
from pathlib import Path

import pytest
import torch
from release import made, write_model, write_tokenizer

import lacewing
import micro
from lacewing.cli.app import main
from lacewing.model.store import Model


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What a command ends with, as JSON."""
    main([*words, "--json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a mistake."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()  # bars of transformers may stand before
    return line


def test_a_released_model_and_its_circuit(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "model", *made("sweep"))
    write_tokenizer(tmp_path / "words")
    ours = tmp_path / "ours"
    words = ["import", "openai", str(tmp_path / "model"), "--output", str(ours)]
    line = refused(words, capsys)
    assert "no tokenizer" in line
    more = ["--tokenizer", str(tmp_path / "words"), "--corpus", str(text)]
    assert said([*words, *more], capsys)["layers"] == 2
    model = lacewing.load(ours)
    rows = [model.tokenizer.encode(t) for t in ("a = [1", "b = [2", "a = (1", "b = (2")]
    importances = {"task_samples": [torch.tensor(rows), {}], "loss": 1.0, "interv_loss": 1.0}
    kept = {"0.attn.q": torch.tensor([1]), "final_resid": torch.tensor([0, 1])}
    torch.save({"circuit_data": kept, "importances": importances}, tmp_path / "viz_data.pt")
    words = ["import", "openai", str(tmp_path / "viz_data.pt"), "--output", str(tmp_path / "c")]
    assert "give --model" in refused(words, capsys)
    assert "--answers" in refused([*words, "--model", str(ours)], capsys)
    main([*words, "--model", str(ours), "--answers", "]", ")"])
    shown = capsys.readouterr().out
    assert "3 nodes" in shown
    assert "halved, since it sums both prompts: model 0.5000, circuit 0.5000" in shown


def test_an_export(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    run = micro.write_run(model, tmp_path / "run")
    folder = tmp_path / "hf"
    found = said(["export", "huggingface", str(run), "--output", str(folder)], capsys)
    assert found["id"] == lacewing.load(f"hf:{folder}").id
    assert "either --output" in refused(["export", "huggingface", str(run)], capsys)


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", "openai", str(tmp_path / "none"), "--output", str(tmp_path / "o")]
    assert "nothing at" in refused(words, capsys)
