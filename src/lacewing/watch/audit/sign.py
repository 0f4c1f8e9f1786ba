"""Signing an audit's folder with an offline key (extra `[sign]`: model-signing).

The signature covers audit.json, index.html and statement.json; the manifest follows from these, and
by the sums in audit.json the signature holds for the model and the circuits too. The key is an
elliptic one in a PEM file: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`, and
`openssl ec -in key.pem -pubout -out public.pem`.
"""

import contextlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

from lacewing.artifacts import MANIFEST
from lacewing.errors import ArtifactError, ConfigError
from lacewing.watch.audit.schema import SIGNATURE

LARGEST = 2**20
"""Bytes of a signature or a key."""


def sign(folder: Path, key: Path) -> bytes:
    """The signature of what lies in a folder.

    Args:
        folder: With the files that are signed.
        key: The private key.

    Raises:
        ConfigError: the library is missing, or the key cannot be used.
    """
    library, place = _library(), folder / SIGNATURE
    _look(key)
    try:
        signer = library.signing.Config().set_hashing_config(_hashing(library))
        with contextlib.redirect_stdout(io.StringIO()):
            signer.use_elliptic_key_signer(private_key=key).sign(folder, place)
    except Exception as error:  # of several libraries
        raise ConfigError(f"{key} cannot sign: {_said(error)}; it has to be {WANTED}") from error
    content = place.read_bytes()
    place.unlink()
    return content


def verify(folder: Path, key: Path) -> None:
    """Check the signature in a folder against a public key.

    Raises:
        ConfigError: the library is missing, or the key cannot be used.
        ArtifactError: the signature is not of this key, or not of these files.
    """
    library = _library()
    _look(key)
    try:
        verifier = library.verifying.Config().set_hashing_config(_hashing(library))
        verifier.use_elliptic_key_verifier(public_key=key)
    except Exception as error:
        raise ConfigError(f"{key} cannot verify: {_said(error)}; it has to be {PUBLIC}") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            verifier.verify(folder, folder / SIGNATURE)
    except Exception as error:
        raise ArtifactError(
            f"{folder / SIGNATURE} is no signature of this folder by {key}: {_said(error)}"
        ) from error


WANTED = "a private elliptic key (P-256, P-384 or P-521) in a PEM file without a password"
PUBLIC = "a public elliptic key (P-256, P-384 or P-521) in a PEM file"


def _library() -> ModuleType:
    try:
        import model_signing
    except ImportError as error:
        raise ConfigError("signatures need model-signing: pip install 'lacewing[sign]'") from error
    library: ModuleType = model_signing
    return library


def _hashing(library: Any) -> Any:
    """What is signed: all files but the manifest, which follows from them, and the signature."""
    return library.hashing.Config().set_ignored_paths(
        paths=[MANIFEST, SIGNATURE], ignore_git_paths=False
    )


def _look(key: Path) -> None:
    """Refuse what is no file of a key's size."""
    from lacewing.artifacts import read_bytes

    try:
        read_bytes(key, LARGEST)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error


def _said(error: Exception) -> str:
    """The error in one line."""
    return " ".join(f"{type(error).__name__} {error}".split())[:300]
