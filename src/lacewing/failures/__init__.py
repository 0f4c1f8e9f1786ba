"""Which agent, at which step, made a multi-agent run fail? Imports no torch.

A log of any known format becomes a `Trace` of events; a method turns a trace into an `Attribution`,
a ranking of its steps. What is read off a log alone is a suspicion; only a replay shows a cause.
"""
