"""Failure attribution by a language model behind any OpenAI-compatible endpoint.

Nothing here runs unless an endpoint is named. What leaves the machine is the log and the question,
and the right answer only where asked for; labels never do.
"""
