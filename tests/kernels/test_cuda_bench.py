"""The benchmark for a GPU, walked through on tiny shapes."""

import json
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def bench(output: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = ["--output", str(output), "--device", device, "--quick", "--stages", *stages]
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/gpu/bench.py"), *options],
        capture_output=True,
        text=True,
    )


def test_stages_are_measured_once(tmp_path: Path) -> None:
    """Each stage leaves its figures; called again, nothing is measured anew; a table ends it."""
    names = ["abs_topk_bf16", "keep_largest", "sparse_linear_32", "step_32", "prune_step"]
    first = bench(tmp_path, *names)
    assert first.returncode == 0, first.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert names == list(results["stages"])
    for name, row in results["stages"].items():
        assert "failed" not in row, (name, row)
        assert row["ratio"] == row["naive_ms"] / row["ours_ms"]
    assert results["stages"]["step_32"]["ours_tokens_per_second"] > 0
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {name} |" in table for name in names)
    (tmp_path / "results.json").unlink()
    again = bench(tmp_path, *names[:2])
    assert [] == [line for line in again.stdout.splitlines() if line.startswith(tuple(names))]
    assert results["stages"] == json.loads((tmp_path / "results.json").read_text())["stages"]


def test_unknown_stage(tmp_path: Path) -> None:
    """A stage that does not exist is refused with the names of those that do."""
    done = bench(tmp_path, "nonsense")
    assert done.returncode == 1
    assert "unknown stages ['nonsense']; there are abs_topk_bf16" in done.stderr
