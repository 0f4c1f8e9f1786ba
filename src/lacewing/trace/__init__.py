"""One answer: what carried it, node by node and token by token."""
