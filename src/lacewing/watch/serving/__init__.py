"""Answering with the monitor on: completions, what was decided in them, figures, alarms sent out.

Nothing here knows of HTTP; the server that does is `viewer/watched`.
"""
