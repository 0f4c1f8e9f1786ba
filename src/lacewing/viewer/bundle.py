"""ES modules made one classic script, because a page opened from disk may not load modules.

Each module becomes a function that returns what it exports; they run in the order of their imports.
Only the plain forms that our page uses are read, and anything else is an error, not a guess.
"""

import posixpath
import re
from collections.abc import Mapping

from lacewing.errors import ArtifactError

IMPORT = re.compile(r'^import\s+(.+?)\s+from\s+"([^"]+)";?[ \t]*$', re.M | re.S)
EXPORT = re.compile(
    r"^export\s+(?:async\s+)?(?:function\*?|class|const|let)\s+([A-Za-z_$][\w$]*)", re.M
)
LIST = re.compile(r"^export\s*\{([^}]*)\};?[ \t]*$", re.M)
ODD = re.compile(
    r"^\s*(?:export\s+default|export\s+\*|import\s*[\"(]|import\s+[A-Za-z_$]+\s)", re.M
)


def bundle(modules: Mapping[str, str], main: str) -> str:
    """One script of a module and all it imports.

    Args:
        modules: Sources by path.
        main: Path of the first.

    Raises:
        ArtifactError: a form of import or export that is not read, a cycle, or a missing module.
    """
    order: list[str] = []
    _visit(main, modules, order, ())
    number = {path: f"m{i}" for i, path in enumerate(order)}
    parts = ['"use strict";', "(() => {"]
    parts += [_module(path, modules[path], number) for path in order]
    return "\n".join([*parts, "})();", ""])


def _visit(path: str, modules: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    if path in above:
        raise ArtifactError(f"modules import each other: {' > '.join([*above, path])}")
    if path in order:
        return
    if path not in modules:
        raise ArtifactError(
            f"{above[-1] if above else 'the page'} imports {path}, which is missing"
        )
    if odd := ODD.search(modules[path]):
        raise ArtifactError(f"{path}: {odd[0].strip()!r} cannot be bundled; use named imports")
    for _, source in IMPORT.findall(modules[path]):
        _visit(_resolved(path, source), modules, order, (*above, path))
    order.append(path)


def _module(path: str, source: str, number: Mapping[str, str]) -> str:
    names = {name: name for name in EXPORT.findall(source)}
    for group in LIST.findall(source):
        for item in filter(None, (part.strip() for part in group.split(","))):
            inner, _, outer = item.partition(" as ")
            names[(outer or inner).strip()] = inner.strip()

    def imported(found: re.Match[str]) -> str:
        what, whence = found[1].strip(), number[_resolved(path, found[2])]
        if what.startswith("*"):
            return f"const {what.partition(' as ')[2].strip()} = {whence};"
        renamed = re.sub(r"\s+as\s+", ": ", what)
        return f"const {renamed} = {whence};"

    body = LIST.sub("", IMPORT.sub(imported, source))
    body = re.sub(r"^export\s+", "", body, flags=re.M)
    # Getters, because an exported `let` may change.
    exports = ", ".join(f"get {outer}() {{ return {inner}; }}" for outer, inner in names.items())
    return f"const {number[path]} = (() => {{ // {path}\n{body}\nreturn {{ {exports} }};\n}})();"


def _resolved(path: str, source: str) -> str:
    if not source.startswith("."):
        raise ArtifactError(f"{path} imports {source!r}: only the page's own modules are bundled")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), source))
