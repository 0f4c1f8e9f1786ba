"""What is said where a Triton version cannot run."""

import warnings

import pytest

from lacewing.kernels import cuda


def test_without_triton_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked twice, the missing package is named once."""
    monkeypatch.setattr(cuda, "TRITON", False)
    cuda.fall_back.cache_clear()
    with pytest.warns(RuntimeWarning, match="triton is not installed: the plain PyTorch version"):
        assert not cuda.available()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cuda.available()


def test_with_triton_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can be imported nothing is said."""
    monkeypatch.setattr(cuda, "TRITON", True)
    assert cuda.available()
