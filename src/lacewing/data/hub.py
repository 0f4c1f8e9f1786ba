"""Text columns of Hugging Face data sets, streamed so that nothing is downloaded whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from lacewing.data.source import CorpusSummary, Found
from lacewing.errors import DataError

MOST = 200_000
"""Documents taken from a stream, so that a data set of terabytes ends."""


@dataclass(frozen=True)
class HubDataset:
    """One text column of the `train` split of a data set."""

    name: str
    """OWNER/NAME on the Hub, or a local folder or loader the `datasets` library understands."""
    config: str | None
    """The data set's configuration, if it has several."""
    column: str
    """The column with the text."""

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        """Yield every row's text under a path that numbers it."""
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise DataError(
                f"reading {self.name} from the Hub needs an extra: pip install 'lacewing[hub]'"
            ) from error
        try:
            rows = load_dataset(self.name, self.config, split="train", streaming=True)
            for index, row in enumerate(islice(rows, MOST)):
                if self.column not in row:
                    raise DataError(
                        f"data set {self.name} has no column {self.column!r}; it has "
                        f"{', '.join(row)}: write hub:{self.name}::COLUMN"
                    )
                yield Found(f"{self.name}/{index}", str(row[self.column]))
        except (OSError, ValueError, ConnectionError) as error:
            raise DataError(f"cannot read data set {self.name}: {error}") from error
