"""How many cores this process may use: threads beyond that only wait for each other."""

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of control groups, which containers are made of."""
OWN = Path("/proc/self/cgroup")
"""The groups this process is in."""


def cores() -> int:
    """The cores that this process is tied to, and no more than its control group pays for.

    A container with two cores' time on a machine of 64 is stopped for most of each tenth of a
    second if it starts 64 threads.
    """
    tied = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([tied or 1, *(math.ceil(share) for share in quotas())]))


def quotas(groups: Path = GROUPS, own: Path = OWN) -> list[float]:
    """Cores' worth of time that the control groups of this process have, where they are limited.

    Args:
        groups: Where the groups' limits are.
        own: Which groups this process is in, a line each: `0::/PATH`, or `4:cpu,cpuacct:/PATH`.
    """
    found = []
    for line in _text(own).splitlines():
        _, kinds, path = (*line.split(":", 2), "", "")[:3]
        if kinds and "cpu" not in kinds.split(","):
            continue
        root = groups / "cpu" if kinds else groups
        below = root if ".." in path.split("/") else root / path.strip("/")
        # Limits of a group hold for those in it; a container sees its own as the root.
        for folder in {below, *below.parents, root}:
            if folder == root or root in folder.parents:
                found += _share(folder)
    return found


def _share(folder: Path) -> list[float]:
    """The limit of one group, if it has one: version 2 in one file, version 1 in two."""
    limit = _text(folder / "cpu.max").split()
    if not limit:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        limit = [_text(folder / name).strip() for name in names]
    try:
        quota, period = map(float, limit)
    except ValueError:  # `max`, or nothing there
        return []
    return [quota / period] if quota > 0 and period > 0 else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
