"""The four forms of four tasks in one table, resumable: bridges, autoencoders, circuits, verdicts.

    python recipes/partners.py [--output runs/partners] [--tokens 3000000] [--minutes 120]

First bridges from the dense to the weight-sparse model, then sparse autoencoders of the dense model
at the very sites where bridges stand, on as many tokens of the same text; then `lacewing compare`
of all four forms. Run it again after an interruption and it goes on; with --minutes no further cell
of the table is begun after so many, and those that are left out are printed as unfinished.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from lacewing.bridges import train as bridges
from lacewing.bridges.folder import read
from lacewing.bridges.maps import site_key
from lacewing.circuit.config import PruneConfig
from lacewing.cli.compare import Compare
from lacewing.cli.streams import drawn
from lacewing.model.store import load
from lacewing.sae import train as saes
from lacewing.sae.config import SaeConfig
from lacewing.training.config import TrainConfig

TASKS = ("single_double_quote", "while_return_true", "var_if", "if_equals")
"""Those whose circuits ship."""
BATCH = 16
WIDE = 200
"""Characters of the table."""


@dataclass(frozen=True)
class Recipe:
    """What to compare."""

    sparse: str = "builtin:sparse"
    dense: str = "builtin:dense"
    output: Path = Path("runs/partners")
    corpus: str = "standard_library"
    tasks: tuple[str, ...] = TASKS
    tokens: int = 3_000_000
    """For the bridges, and again for the autoencoders."""
    held_out: int = 16_384
    """Tokens that the figures of both are measured on."""
    k: int = 32
    """Latents of an autoencoder that are not zero at a token."""
    seeds: tuple[int, ...] = (0,)
    minutes: float | None = None
    """Begin no further cell of the table after so many."""
    skip: tuple[str, ...] = ("stability", "controls")
    """Parts of the suite that are left out; these two prune again."""
    quick: bool = False
    """Only the short test of each circuit."""
    pruning: PruneConfig = field(default_factory=PruneConfig)

    def run(self) -> None:
        """Everything that is not there yet."""
        dense, sparse = load(self.dense), load(self.sparse)
        bridge, latents = self.output / "bridge", self.output / "sae"
        if not bridge.exists():
            config = TrainConfig(
                n_layer=dense.network.config.n_layer,
                context=min(model.network.config.context for model in (dense, sparse)),
                tokens=self.tokens,
                batch=BATCH,
                validation_tokens=self.held_out,
            )
            bridges.train(dense, bridge, config, corpus=self.corpus, sparse=sparse)
        sizes = read(bridge, self.dense, self.sparse).facts.sizes
        sites = [site_key(site, sizes.n_layer) for site in range(sizes.count)]
        if not latents.exists():
            learned = SaeConfig(tokens=self.tokens, k=self.k, held_out=self.held_out)
            saes.train(dense, sites, latents, learned, self.corpus)
        table = Compare(
            sparse=self.sparse,
            dense=self.dense,
            output=self.output / "table",
            tasks=self.tasks,
            seeds=self.seeds,
            corpus=self.corpus,
            config=self.pruning,
            sae=latents,
            bridge=bridge,
            minutes=self.minutes,
            quick=self.quick,
            skip=self.skip,
        )
        print(drawn(Compare.show(table.run()), width=WIDE))


if __name__ == "__main__":
    tyro.cli(Recipe).run()
