"""Speed against the naive baselines, as ratios within one process."""
