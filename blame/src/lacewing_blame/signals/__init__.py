"""Signals that mean the same in every system, one small module each.

Each module has `signals(run) -> dict[name, list of one number per suspect]`; `table.py` puts them
together. None looks at labels, at the right answer, or at the names of agents.
"""
