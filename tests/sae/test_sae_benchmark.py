"""`benchmarks.sae` keeps its rows: what is there is not trained again, and says how it was made."""

import dataclasses
import json
from pathlib import Path

import pytest
from benchmarks.sae import Bench, main

import micro
from lacewing.errors import ConfigError


def test_rows_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON each; the same command makes what is missing and refuses what was made otherwise."""
    micro.write_run(micro.micro(), tmp_path / "run")
    output = tmp_path / "rows"
    bench = Bench(
        model=str(tmp_path / "run"),
        corpus=str(micro.write_letters(tmp_path / "text")),
        tokens=1024,
        batch=128,
        expansion=2,
        k=4,
        held_out=256,
        rounds=1,
        threads=2,
        output=output,
    )
    main(bench)
    first = capsys.readouterr()
    assert "threads of each: 2" in first.out
    assert first.err.count("round 1") == 1
    (file,) = output.iterdir()  # and no activations are left
    row = json.loads(file.read_text())
    assert row["threads"] == 2  # as the process that trained says
    assert row["asked"]["seed"] == 0
    main(bench)
    assert capsys.readouterr() == (first.out, "")
    main(dataclasses.replace(bench, rounds=2))
    told = capsys.readouterr()
    assert [word in told.err for word in ("round 1", "round 2")] == [False, True]
    assert len(list(output.iterdir())) == 2
    assert json.loads(file.read_text()) == row
    with pytest.raises(ConfigError, match=r"dead-after.*threads 2, this one has 1"):
        main(dataclasses.replace(bench, threads=1))
