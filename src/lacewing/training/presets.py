"""Named configurations for `lacewing train --preset`; flags change single settings of them."""

import dataclasses

from lacewing.training.config import TrainConfig

TINY = TrainConfig(
    n_layer=1,
    expansion=0.5,
    d_head=16,
    density=0.02,
    floor=1,
    vocab_size=1024,
    tokens=10_000_000,
    learning_rate=0.03,
)
"""One layer of 128 channels: minutes on a laptop. `builtin:taught-tiny` was trained so."""
SMALL = dataclasses.replace(TINY, expansion=1.0, density=0.01, tokens=12_000_000, anneal_end=0.5)
"""One layer of 256 channels: the smallest circuits. `builtin:taught-small` was trained so."""
PRESETS = {"tiny": TINY, "small": SMALL}
"""Every preset by its name."""
