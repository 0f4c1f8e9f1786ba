"""Every file that lacewing reads, and the format that attacks it; a test finds those left out."""

READ: dict[str, str] = {
    # A model's folder, a training, its tokens.
    "config.json": "model",
    "tokenizer.json": "model",
    "metrics.jsonl": "model",
    "means.safetensors": "model",
    "model.safetensors": "model",
    "model.compact.safetensors": "compact",
    "summary.json": "model",
    "manifest.json": "model",
    "state.json": "training",
    "state.safetensors": "training",
    "more.safetensors": "training",
    "index.json": "training",
    # A circuit and what lies beside it.
    "circuit.json": "circuit",
    "nodes.safetensors": "circuit",
    "pairs.jsonl": "circuit",
    "pairs.jsonl.gz": "packed",
    "certificate.json": "certificate",
    "certificate_pairs.jsonl": "certificate",
    "verification.json": "viewer",
    "annotations.json": "viewer",
    # A pruning on its way.
    "values.json": "pruning",
    "tensors.safetensors": "pruning",
    # Corpora.
    "corpus.json": "corpus",
    "files.jsonl": "parts",
    "facts.json": "parts",
    "signatures.safetensors": "parts",
    # An audit.
    "audit.json": "audit",
    "statement.json": "audit",
    # Comparisons and sweeps.
    "comparison.json": "viewer",
    "plan.json": "comparison",
    "frontier.json": "viewer",
    "emergence.json": "viewer",
    "tasks.json": "viewer",
    "sweep.json": "sweep",
    "result.json": "sweep",
    "losses.safetensors": "sweep",
    # Models and circuits of others.
    "lacewing.json": "hf",
    "lacewing.means.safetensors": "gpt2",
    "model.safetensors.index.json": "llama",
    "adapter_config.json": "hf",
    "beeg_config.json": "released",
    "encoder.json": "released",
    "results.json": "masks",
    "calibration.json": "masks",
    # Autoencoders, and those of SAELens.
    "sae.json": "sae",
    "cfg.json": "lens",
    "sae_weights.safetensors": "lens",
    # Bridges, and those on their way.
    "bridges.json": "bridges",
    "bridges.safetensors": "bridges",
    "asked.json": "halved",
    # What a monitor compares with.
    "reference.json": "watched",
    "reference.safetensors": "watched",
    # What explain and prune keep.
    "text.safetensors": "records",
    "explanations.json": "viewer",
    "attacks.json": "attacks",
    "tried.jsonl": "tried",
    # blame
    "weights.json": "weights",
}
"""File names, each with a format of the table."""
WRITTEN: dict[str, str] = {
    "repair.json": "for people",
    "report.json": "for people",
    "dropped.jsonl": "for people",
    "correlation.json": "for people",
    "sizes.json": "for people",
    "failed.json": "for people",
    "steering.json": "for people",
    "partners.json": "for people",
    "graph.json": "an export",
    "wiring.json": "an export",
    "signature.json": "read by model-signing, and damaged in tests/watch/test_watch_audit_sign.py",
    "standard_library.safetensors": "ships with the package",
    "a.json": "an example in a docstring",
    "missing.json": "an example in a docstring",
    "my_pairs.jsonl": "an example in a docstring",
    "run.jsonl": "an example in a docstring",
}
"""File names that nothing reads, and why."""
