"""Signed audits, by the real library where it is installed (extra [sign])."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import audits
import micro
from hostile.reseal import reseal
from lacewing import artifacts
from lacewing.cli.app import main
from lacewing.errors import ConfigError
from lacewing.watch.audit import sign
from lacewing.watch.audit.build import derived, write
from lacewing.watch.audit.check import NO_KEY, How, check
from lacewing.watch.audit.schema import AUDIT, SIGNATURE, Audit


def openssl(*words: object) -> None:
    """Run openssl, which keys are made with."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a circuit with a signed audit, the signer's two keys, and another's."""
    pytest.importorskip("model_signing")
    root = tmp_path_factory.mktemp("signed")
    model = micro.micro()
    micro.write_run(model, root / "model")
    facts = {"pairs": tuple(micro._pairs(24, 9)), "model_source": str(root / "model")}
    micro.make(model, micro.PLANTED, **facts).save(root / "circuits" / "one")
    for name in ("own", "other"):
        key = root / f"{name}.pem"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("ec", "-in", key, "-pubout", "-out", root / f"{name}.pub")
    audits.make(root, random_circuits=2)
    made = artifacts.read(root / "audit" / AUDIT, Audit)
    shutil.rmtree(root / "audit")
    write(made, root / "audit", root / "own.pem")
    return root


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """A copy of all that, to be changed."""
    shutil.copytree(site, tmp_path / "copy")
    return tmp_path / "copy"


def test_untouched_is_fine_with_its_key_alone(site: Path) -> None:
    """The signer's key; another's is refused; without one it is said."""
    found = check(site / "audit", How(key=site / "own.pub"))
    assert found.fine, found.differs
    assert found.signed
    assert () == found.notes
    assert "no signature of this folder" in str(
        check(site / "audit", How(key=site / "other.pub")).differs
    )
    without = check(site / "audit")
    assert without.fine
    assert (NO_KEY,) == without.notes


def test_an_audit_rewritten_as_a_whole_is_seen(copy: Path) -> None:
    """Unsigned it passes, as the limits say; with the key it does not."""
    made = artifacts.read(copy / "audit" / AUDIT, Audit)
    signature = (copy / "audit" / SIGNATURE).read_bytes()
    shutil.rmtree(copy / "audit")
    licence = dataclasses.replace(made.model, licence="do what you like")
    write(derived(dataclasses.replace(made, model=licence)), copy / "audit")
    assert check(copy / "audit").fine
    assert "is not signed" in str(check(copy / "audit", How(key=copy / "own.pub")).differs)
    (copy / "audit" / SIGNATURE).write_bytes(signature)
    manifest = copy / "audit" / artifacts.MANIFEST
    saved = json.loads(manifest.read_text())
    saved["files"][SIGNATURE] = {"size": 0, "sha256": ""}
    manifest.write_text(json.dumps(saved))
    assert reseal(copy / "audit" / SIGNATURE)
    assert check(copy / "audit").fine  # whose sums are right
    found = check(copy / "audit", How(key=copy / "own.pub"))
    assert "no signature of this folder" in str(found.differs)


def test_signed_by_another_is_seen(copy: Path) -> None:
    """The same audit, with the signature of whoever took it over."""
    made = artifacts.read(copy / "audit" / AUDIT, Audit)
    shutil.rmtree(copy / "audit")
    write(made, copy / "audit", copy / "other.pem")
    assert check(copy / "audit", How(key=copy / "other.pub")).fine
    assert not check(copy / "audit", How(key=copy / "own.pub")).fine


def test_changed_copies_are_seen(site: Path) -> None:
    """A byte of any file, the signature's among them."""
    changed = audits.copies(site, 20, seed=2, key=site / "own.pub")
    assert [name for name, seen, _ in changed if not seen] == []


def test_the_statement_is_read_by_in_totos_library(site: Path) -> None:
    """Their types take it, whole."""
    statement = pytest.importorskip("in_toto_attestation.v1.statement")
    made = json.loads((site / "audit" / "statement.json").read_text())
    descriptor = pytest.importorskip("in_toto_attestation.v1.resource_descriptor")
    subjects = [
        descriptor.ResourceDescriptor(name=one["name"], digest=one["digest"]).pb
        for one in made["subject"]
    ]
    statement.Statement(subjects, made["predicateType"], made["predicate"]).validate()


def test_the_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Signed and checked; keys that are none are one line."""
    words = ["audit", str(copy / "model"), "--circuits", str(copy / "circuits" / "one")]
    main([*words, "--output", str(copy / "new"), "--sign", str(copy / "own.pem")])
    assert ", signed" in capsys.readouterr().out
    main(["audit", "--check", str(copy / "new"), "--key", str(copy / "own.pub")])
    assert "signature checked" in capsys.readouterr().out
    for flags in (
        ["--check", str(copy / "new"), "--key", str(copy / "own.pem")],
        ["--check", str(copy / "new"), "--key", str(copy / "none.pub")],
        [*words[1:], "--output", str(copy / "more"), "--sign", str(copy / "own.pub")],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["audit", *flags])
        assert 2 == stopped.value.code
    assert not (copy / "more").exists()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is named, with the extra that brings it."""
    monkeypatch.setitem(__import__("sys").modules, "model_signing", None)
    with pytest.raises(ConfigError, match=r"lacewing\[sign\]"):
        sign.verify(tmp_path, tmp_path / "key")
