"""Means of sites: over the tokens they were summed over, however many pieces that takes."""

import torch

from lacewing.model.hooks import record
from lacewing.model.store import Model
from lacewing.training.evaluate import PIECE, site_means


def test_means_are_those_of_all_tokens(model: Model) -> None:
    """Recorded in one pass over more sequences than a piece has, the last token left out."""
    network = model.network
    generator = torch.Generator().manual_seed(0)
    sequences = torch.randint(250, (PIECE + 7, 9), generator=generator)
    with torch.no_grad(), record(network) as seen:
        network(sequences[:, :-1])
    found = site_means(network, sequences)
    assert found.keys() == seen.keys()
    for key, values in seen.items():
        expected = values.double().mean((0, 1)).float()
        torch.testing.assert_close(found[key], expected, atol=1e-6, rtol=1e-5)
