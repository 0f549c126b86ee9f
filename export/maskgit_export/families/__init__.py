"""One file a family of published or own checkpoints."""
