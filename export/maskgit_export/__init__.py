"""PyTorch side: training, tuning, judging, and turning checkpoints into bundles."""
