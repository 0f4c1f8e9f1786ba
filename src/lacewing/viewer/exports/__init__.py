"""The files a circuit can be saved as, for other programs and for people."""

from lacewing.viewer.session import Session

KINDS = {
    "circuit.dot": "text/vnd.graphviz",
}


def make(session: Session, name: str, pair: int, member: str) -> bytes:
    """One of the files.

    Raises:
        DataError: there is no such prompt.
    """
    raise NotImplementedError
