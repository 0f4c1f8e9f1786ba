"""Imported first by the campaign: threads do not outlive a fork, so there must be none."""

import os

os.environ |= {
    "NUMBA_THREADING_LAYER": "workqueue",  # OpenMP's refuses to work in a child
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
