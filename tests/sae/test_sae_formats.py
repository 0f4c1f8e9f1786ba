"""Files of SAELens: written for it, read as it writes them, and opened by the library itself.

The last test needs sae-lens (`make doors DOORS=saelens`); the others check the format as version
6.54 has it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lacewing.errors import LacewingError
from lacewing.sae import formats
from lacewing.sae.autoencoder import Autoencoder

D_IN, LATENTS, K = 6, 16, 3
SITE = "0.mlp_out"
WIDTHS = {"0.mlp_in": D_IN, SITE: D_IN, "0.mlp_neuron": 9}
ARCHITECTURES = ("topk", "abstopk", "jumprelu", "standard")


def theirs(folder: Path, named: str, **changes: Any) -> Path:
    """A folder as `SAE.save_model` leaves it."""
    generator = torch.Generator().manual_seed(len(named))
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (D_IN, LATENTS), "b_enc": (LATENTS,)}
    shapes |= {"W_dec": (LATENTS, D_IN), "b_dec": (D_IN,)}
    said: dict[str, Any] = {"d_in": D_IN, "d_sae": LATENTS, "dtype": "float32", "device": "cpu"}
    said |= {"apply_b_dec_to_input": True, "normalize_activations": "none"}
    said |= {"reshape_activations": "none", "architecture": named}
    said["metadata"] = {"sae_lens_version": "6.54.12", "hook_name": "blocks.0.hook_mlp_out"}
    if named == "jumprelu":
        shapes["threshold"] = (LATENTS,)
    if "topk" in named:
        said |= {"k": K, "rescale_acts_by_decoder_norm": True}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if "threshold" in tensors:
        tensors["threshold"].abs_()
    folder.mkdir(parents=True)
    save_file(tensors, folder / formats.WEIGHTS)
    (folder / formats.CONFIG).write_text(json.dumps(said | changes))
    return folder


def by_hand(folder: Path, x: torch.Tensor) -> torch.Tensor:
    """What SAELens' formulas give."""
    from safetensors.torch import load_file

    said = json.loads((folder / formats.CONFIG).read_text())
    t = load_file(folder / formats.WEIGHTS)
    before = (x - t["b_dec"] * said["apply_b_dec_to_input"]) @ t["W_enc"] + t["b_enc"]
    norm = t["W_dec"].norm(dim=1) if said.get("rescale_acts_by_decoder_norm") else torch.ones(1)
    before = before * norm
    kind = said["architecture"]
    if kind == "jumprelu":
        latents = before.relu() * (before > t["threshold"])
    elif kind == "standard":
        latents = before.relu()
    else:
        index = (before.abs() if kind == "abstopk" else before).topk(said["k"]).indices
        kept = before.gather(1, index)
        kept = kept if kind == "abstopk" else kept.relu()
        latents = torch.zeros_like(before).scatter(1, index, kept)
    return (latents / norm) @ t["W_dec"] + t["b_dec"]


def sample() -> torch.Tensor:
    """Some values of the site."""
    return torch.randn(64, D_IN, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_theirs_are_read(architecture: str, tmp_path: Path) -> None:
    """The reconstruction is that of their formulas."""
    folder = theirs(tmp_path / "sae", architecture)
    sae = formats.read_folder(folder, SITE, SITE, WIDTHS)
    x = sample()
    torch.testing.assert_close(sae.decode(sae.encode(x)), by_hand(folder, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ours_come_back(architecture: str, tmp_path: Path) -> None:
    """Written and read again, and right by their formulas."""
    sae = formats.read_folder(theirs(tmp_path / "a", architecture), SITE, SITE, WIDTHS)
    again = written(sae, tmp_path / "b")
    x = sample()
    expected = sae.decode(sae.encode(x))
    torch.testing.assert_close(by_hand(again, x), expected, atol=1e-5, rtol=1e-5)
    back = formats.read_folder(again, SITE, SITE, WIDTHS)
    torch.testing.assert_close(back.decode(back.encode(x)), expected, atol=1e-5, rtol=1e-5)
    said = json.loads((again / formats.CONFIG).read_text())
    assert said["metadata"]["sae_lens_version"] >= "6"  # else their old converter runs
    assert said["metadata"]["hook_name"] == "blocks.0.hook_mlp_out"


def written(sae: Autoencoder, folder: Path) -> Path:
    """Its two files in a folder."""
    folder.mkdir()
    for name, content in formats.files_of(sae, {"model_name": "tiny"}, 1).items():
        (folder / name).write_bytes(content)
    return folder


def test_a_transcoder_keeps_its_shift(tmp_path: Path) -> None:
    """What is taken from its input first goes into a bias, and comes back the same."""
    draw = torch.Generator().manual_seed(2)
    encoder, bias, decoder, out, shift = (
        torch.randn(shape, generator=draw) for shape in ((16, 6), (16,), (16, 6), (6,), (6,))
    )
    sae = Autoencoder(SITE, "0.mlp_in", "topk", K, encoder, bias, decoder, out, shift)
    folder, x = written(sae, tmp_path / "one"), sample()
    back = formats.read_folder(folder, SITE, "0.mlp_in", WIDTHS)
    expected = sae.decode(sae.encode(x))
    torch.testing.assert_close(back.decode(back.encode(x)), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(LacewingError, match="topk_transcoder, which does not read"):
        formats.read_folder(folder, SITE, SITE, WIDTHS)


WRONG = {
    "gated": ({"architecture": "gated"}, "architecture gated; read are topk"),
    "norm": ({"normalize_activations": "layer_norm"}, "only none of both is read"),
    "width": ({"d_in": 7}, "is for 7 channels, site 0.mlp_out of this model has 6"),
    "k": ({"k": 99}, "damaged"),
    "zero": ({"k": 0}, "with k 0: damaged"),
    "huge": ({"d_sae": 2**40}, "damaged"),
    "other": ({"d_sae": 17}, "by its configuration"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused(case: str, tmp_path: Path) -> None:
    """In one line that says what was wrong."""
    changes, told = WRONG[case]
    folder = theirs(tmp_path / "sae", "topk", **changes)
    with pytest.raises(LacewingError, match=told) as caught:
        formats.read_folder(folder, SITE, SITE, WIDTHS)
    assert "\n" not in str(caught.value)


def test_a_missing_folder() -> None:
    """Is named."""
    with pytest.raises(LacewingError, match="no autoencoder at nowhere"):
        formats.read_folder(Path("nowhere"), SITE, SITE, WIDTHS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_library_opens_ours(architecture: str, tmp_path: Path) -> None:
    """And says the same, to 1e-5; and what it saves opens here."""
    library = pytest.importorskip("sae_lens", reason="sae-lens is not installed")
    sae = formats.read_folder(theirs(tmp_path / "a", architecture), SITE, SITE, WIDTHS)
    opened = library.SAE.load_from_disk(written(sae, tmp_path / "b"))
    x = sample()
    with torch.no_grad():
        torch.testing.assert_close(opened(x), sae.decode(sae.encode(x)), atol=1e-5, rtol=1e-5)
        opened.save_model(tmp_path / "c")
        back = formats.read_folder(tmp_path / "c", SITE, SITE, WIDTHS)
        torch.testing.assert_close(opened(x), back.decode(back.encode(x)), atol=1e-5, rtol=1e-5)
