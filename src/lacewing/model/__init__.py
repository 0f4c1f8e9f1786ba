"""The transformer: its configuration, the names of its places, the network, hooks, files."""
