"""PyTorch side: training, tuning, judging, and turning checkpoints into bundles."""

import maskgit_daemon as maskgit_daemon  # its settings of ONNX Runtime come first
