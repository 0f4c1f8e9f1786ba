"""As many threads as cores that may be used."""

import os
from pathlib import Path

import pytest

from lacewing.kernels import cores as module


def written(folder: Path, **files: str) -> Path:
    """A folder of some files; cpu_ stands for cpu.."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000\n", []), ("150000 100000\n", [1.5]), ("odd\n", [])]
)
def test_a_group_of_version_2(tmp_path: Path, limit: str, expected: list[float]) -> None:
    """Its limit, and that of the groups around it."""
    own = written(tmp_path / "proc", cgroup="0::/outer/inner\n") / "cgroup"
    groups = written(tmp_path / "groups", cpu_max="max 100000\n")
    written(groups / "outer", cpu_max="800000 100000\n")
    written(groups / "outer" / "inner", cpu_max=limit)
    assert sorted(module.quotas(groups, own)) == [*expected, 8.0]


def test_a_group_of_version_1(tmp_path: Path) -> None:
    """Quota and period; -1 is no limit, and groups of other kinds say nothing."""
    own = written(tmp_path / "proc", cgroup="5:memory:/a\n4:cpu,cpuacct:/a\n") / "cgroup"
    groups = tmp_path / "groups"
    written(groups / "cpu", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    written(groups / "cpu" / "a", cpu_cfs_quota_us="250000\n", cpu_cfs_period_us="100000\n")
    assert module.quotas(groups, own) == [2.5]


def test_a_path_out_of_the_groups_is_not_followed(tmp_path: Path) -> None:
    """Where the process sees its group as lying outside, only the root counts."""
    own = written(tmp_path / "proc", cgroup="0::/../other\n") / "cgroup"
    groups = written(tmp_path / "groups", cpu_max="300000 100000\n")
    assert module.quotas(groups, own) == [3.0]


def test_no_more_than_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Part of a core is one thread; no limit leaves the cores the process is tied to."""
    tied = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    monkeypatch.setattr(module, "quotas", lambda: [0.4])
    assert module.cores() == 1
    monkeypatch.setattr(module, "quotas", lambda: [1000.0])
    assert module.cores() == tied
