"""Tables of results, drawn by rich; where a terminal is too narrow for one, a list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

NUMBER = ">"
"""In front of a column's name: its cells stand at the right."""
GAP = 2
"""Columns of the terminal between two of the table."""


@dataclass(frozen=True)
class Table:
    """Rows under names of columns, without lines.

    >>> from lacewing.cli.streams import drawn
    >>> made = Table(["task", ">edges"], [["if_equals", "8"], ["var_if", "112"]])
    >>> print(drawn(made))
    task       edges
    if_equals      8
    var_if       112
    >>> print(drawn(made, width=12))
    if_equals
      edges 8
    var_if
      edges 112
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> Iterator["RenderableType"]:
        """The table, or the list."""
        names = [name.removeprefix(NUMBER) for name in self.columns]
        cells = zip(names, *self.rows, strict=True)
        if sum(max(map(len, column)) + GAP for column in cells) - GAP <= options.max_width:
            yield self._table(names)
        else:
            yield from self._list(names)

    def _table(self, names: Sequence[str]) -> "RenderableType":
        from rich.table import Table as Drawn

        made = Drawn(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for name, column in zip(names, self.columns, strict=True):
            made.add_column(name, justify="right" if column.startswith(NUMBER) else "left")
        for row in self.rows:
            made.add_row(*row)
        return made

    def _list(self, names: Sequence[str]) -> Iterator["RenderableType"]:
        """Each row's first cell, and under it the others with their names."""
        from rich.padding import Padding
        from rich.text import Text

        for first, *others in self.rows:
            yield Text(first, style="bold")
            told = [f"{name} {cell}".strip() for name, cell in zip(names[1:], others, strict=True)]
            yield Padding(Text(", ".join(filter(None, told))), (0, 0, 0, 2), expand=False)


def under(*parts: "RenderableType") -> "RenderableType":
    """Parts under each other; empty ones are left out."""
    from rich.console import Group

    return Group(*(part for part in parts if part != ""))
