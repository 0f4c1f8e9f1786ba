"""Text to token batches: corpus, tokenizer, shards, batches."""
