"""A small corpus on disk, and tokens that say where they are."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two hundred distinct Python files in twenty folders: enough for every split."""
    for index in range(200):
        path = tmp_path / "text" / f"package{index // 10}" / f"module{index}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"def function_{index}_{i}(value):\n    return value + {i}\n" for i in range(20)]
        path.write_text("\n".join(lines))
    return tmp_path / "text"


@pytest.fixture
def counting() -> np.ndarray:
    """Tokens 0, 1, 2, ...: a window shows where it was cut."""
    return np.arange(10_000, dtype=np.uint16)
