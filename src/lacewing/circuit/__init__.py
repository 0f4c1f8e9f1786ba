"""A circuit as a value: nodes, edges, and the facts under which it was found."""
