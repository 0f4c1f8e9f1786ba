"""The read-only copy: modules made one script, and the server's own answers as files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lacewing.errors import ArtifactError
from lacewing.viewer import copies, replies
from lacewing.viewer.bundle import bundle
from lacewing.viewer.state import Viewer


def test_bundle_order() -> None:
    """What is imported runs first, once; names are renamed; exports stay current."""
    modules = {
        "app.js": (
            'import { a as b,\n  c } from "./one.js";\n'
            'import * as two from "./p/two.js";\nb(c, two.d);\n'
        ),
        "one.js": 'import { d } from "./p/two.js";\nexport function a() {}\nexport let c = d;\n',
        "p/two.js": "const d = 1;\nexport { d, d as e };\n",
    }
    script = bundle(modules, "app.js")
    places = [script.index(f"// {name}") for name in ("p/two.js", "one.js", "app.js")]
    assert sorted(places) == places
    assert "const { a: b,\n  c } = m1;" in script
    assert "const two = m0;" in script
    assert "get d() { return d; }, get e() { return d; }" in script
    assert 1 == script.count("// p/two.js")
    assert not re.search(r"^\s*(import|export)\b", script, re.M)


@pytest.mark.parametrize(
    "source",
    [
        "export default 1;",
        'import x from "./b.js";',
        'import "./b.js";',
        'export * from "./b.js";',
        'const x = 1;\n  import("./b.js");',
        'import { x } from "./none.js";',
        'import { x } from "d3";',
        'import { x } from "./a.js";',
    ],
)
def test_bundle_refuses(source: str) -> None:
    """Forms that are not read, missing modules and cycles are errors, not guesses."""
    with pytest.raises(ArtifactError):
        bundle({"a.js": source, "b.js": "export const x = 1;"}, "a.js")


def answers_of(output: Path) -> dict[str, Any]:
    """Every answer in a copy, by URL."""
    head = (output / "data.js").read_text(encoding="utf-8")
    body = head.partition("globalThis.LACEWING = ")[2].rstrip().rstrip(";")
    whole = json.loads(
        re.sub(
            r"^\{ readOnly: true, exports: (.*), files: ", r'{ "exports": \1, "files": ', body
        ).replace(", answers: {\n", ', "answers": {\n', 1)
    )
    assert set(whole["exports"]) == {path.name for path in (output / "export").iterdir()}
    found = dict(whole["answers"])
    for url, name in whole["files"].items():
        script = (output / name).read_text(encoding="utf-8")
        key, _, value = script.removeprefix("LACEWING.answers[").partition("] = ")
        assert url == json.loads(key)
        found[url] = json.loads(value.rstrip().rstrip(";"))
    return found


@pytest.fixture
def static(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of three files instead of the package's."""
    monkeypatch.setenv("LACEWING_STATIC", str(page))


@pytest.mark.usefixtures("static")
def test_copy(folder: Path, text: Path, tmp_path: Path) -> None:
    """The copy says what the server says, refers to nothing outside itself, and names no path."""
    circuits = folder / "circuits"
    for name in ("random",):
        for file in (circuits / name).iterdir():
            file.unlink()
        (circuits / name).rmdir()
    output = tmp_path / "copy"
    result = copies.export(folder, output, str(text))
    found = answers_of(output)
    assert result["answers"] == len(found)
    base = "api/circuits/circuits-planted"
    assert {
        *(
            "api/home",
            "api/emergences",
            "api/frontier",
            base,
            f"{base}/effects",
            f"{base}/prompts/7?member=corrupted",
        ),
        *(f"{base}/nodes/0.attn_q.0", f"{base}/activations/0.attn_q.0?text=natural"),
        f"{base}/attention?head=0.1&pair=0&member=clean",
        "api/compare?left=circuits-planted&right=circuits-path_a",
    } <= found.keys()
    assert found["api/home"]["writable"] is False
    assert "ready" == found[f"{base}/effects"]["state"]
    viewer = Viewer(folder)
    assert json.loads(replies.circuit_json(viewer, "circuits-planted")) == found[base]
    viewer.close()
    index = (output / "index.html").read_text()
    assert '<script src="data.js"></script>' in index
    assert "Content-Security-Policy" in index
    assert 'type="module"' not in index
    assert {"index.html", "static", "data.js", "data", "export", "manifest.json"} == {
        p.name for p in output.iterdir()
    }
    everything = "".join(p.read_text("utf-8") for p in output.rglob("*.js"))
    assert str(tmp_path) not in everything
    assert "</script" not in everything


@pytest.mark.usefixtures("static")
def test_copy_of_nothing(tmp_path: Path) -> None:
    """A folder without circuits, or a place that is taken, is an error, and nothing is written."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no circuit"):
        copies.export(tmp_path / "empty", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
