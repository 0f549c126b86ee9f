"""Metrics, peers, masks and studies: how a model is judged."""
