"""`lacewing watch --serve`: completions in OpenAI's format, metrics, and a live page.

The server, its guard and its page's parts are the viewer's own.
"""
