"""Texts cut into looks: no token changes, none is lost."""

import io
import random
import sys
from pathlib import Path

import pytest
import torch

import micro
from lacewing.errors import DataError
from lacewing.watch import stream
from lacewing.watch.detectors import LOOK
from lacewing.watch.stream import PADDED, Cutter, DamagedError, Piece, Windows, pieces


def test_pieces_have_the_tokens_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little is read at a time, and over line ends of all kinds."""
    monkeypatch.setattr(stream, "READ", 64)
    text = "def f(x):\n    return {x}\n\n\nclass A:\r\n\tpass  \n \n" * 40 + "end = 'ü'"
    path = tmp_path / "text.py"
    path.write_bytes(text.encode())
    found = list(pieces(str(path)))
    assert len(found) > 10
    assert "".join(piece.text for piece in found) == text.replace("\r\n", "\n")
    assert [piece.ends for piece in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].share == 1.0
    letters = micro.tokenizer()
    ids = [token for piece in found for token in letters.encode(piece.text)]
    assert ids == letters.encode(text.replace("\r\n", "\n"))


def test_a_stream_that_was_cut_off_is_read_to_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a character."""
    cut = "x = 'ü'".encode()[:-2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cut)))
    (piece,) = pieces("-")
    assert piece.text == "x = '\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("size", [1, 5, 2**16])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (b"\0\0more\n", "NUL bytes, before byte"),
        (b"\xff\n", "invalid start byte at byte 19"),
        (b"\xc3\n", "invalid continuation byte at byte 19"),
    ],
)
def test_a_damaged_stream_is_read_to_the_damage(
    size: int, harm: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All before it is handed on, however little is read at a time."""
    good = "x = 'ü'\ny = 2\nz = "
    monkeypatch.setattr(stream, "READ", size)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(good.encode() + harm)))
    found = list[Piece]()
    with pytest.raises(DamagedError, match=f"standard input was read to .*{said}"):
        found.extend(pieces("-"))
    assert "".join(piece.text for piece in found) == good
    assert [piece.ends for piece in found] == [False] * (len(found) - 1) + [True]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    """Nothing there, bytes that are none, a folder without any."""
    with pytest.raises(DataError, match=r"no text at .*missing"):
        list(pieces(str(tmp_path / "missing")))
    (tmp_path / "odd").write_bytes(b"abc\xff\xfe" * 9)
    with pytest.raises(DataError, match="odd is no UTF-8 text"):
        list(pieces(str(tmp_path / "odd")))
    with pytest.raises(DataError, match="holds no text: 1 files"):
        list(pieces(str(tmp_path)))
    (tmp_path / "nul").write_bytes(b"abc\0def")
    with pytest.raises(DataError, match="nul is no text: it holds NUL bytes"):
        list(pieces(str(tmp_path / "nul")))
    with pytest.raises(DataError, match="/dev/null is a device"):
        list(pieces("/dev/null"))
    (tmp_path / "good").write_text("good")
    assert [piece.document for piece in pieces(str(tmp_path))] == ["good"]


def test_looks_hold_enough_tokens() -> None:
    """Windows of the context, the last of a document shorter, and what is left at the end."""
    cutter = Cutter(16)
    found = [look for n in range(90) for look in cutter.add(list(range(n % 40)), ends=True)]
    rest = list(cutter.rest())
    total = sum(n % 40 for n in range(90))
    assert sum(look.count for look in [*found, *rest]) == total
    assert all(look.count >= LOOK for look in found)
    assert len(rest) == 1
    first = found[0]
    assert first.tokens.shape[1] == 16
    assert max(map(len, first.each)) == 16
    inside = torch.arange(16) < first.lengths[:, None]
    assert not first.tokens[~inside].any()


def taken(lengths: list[int], context: int = 128) -> tuple[list[Windows], list[Windows]]:
    """The looks of documents of some lengths, each of tokens of its own, and what is left."""
    cutter, number = Cutter(context), 0
    found = list[Windows]()
    for length in lengths:
        found += cutter.add(list(range(number, number + length)), ends=True)
        number += length
    rest = list(cutter.rest())
    tokens = [token for look in [*found, *rest] for row in look.each for token in row]
    assert sorted(tokens) == list(range(number)), "each token once"
    return found, rest


def test_many_short_documents_and_a_long_one_fit_in_memory() -> None:
    """They are no look of 901 windows, all as wide as the longest; nor are looks any shorter."""
    found, rest = taken([1] * 900 + [128])
    assert found == []
    assert [look.tokens.shape for look in rest] == [(1, 128), (900, 1)]
    found, rest = taken([1] * 900 + [128] * 8 + [1] * 124)
    assert [look.tokens.shape for look in found] == [(8, 128), (1024, 1)]
    assert rest == []


def test_looks_of_any_mixture_are_whole_and_not_much_padding() -> None:
    """Lengths drawn evenly over their logarithms, one time in five all short."""
    for seed in range(40):
        dice = random.Random(seed)
        most = 10 if seed % 5 else 3
        lengths = [int(2 ** dice.uniform(0, most)) for _ in range(2000)]
        found, rest = taken(lengths)
        assert all(look.count >= LOOK for look in found)
        assert sum(look.count for look in rest) < 8 * LOOK
        assert all(look.tokens.numel() <= PADDED for look in [*found, *rest])
