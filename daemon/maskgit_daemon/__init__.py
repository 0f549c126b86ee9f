"""The daemon: keeps ONNX models resident, decodes in Python, returns regenerated patches."""

import os

from maskgit_daemon.version import VERSION

# ONNX Runtime's builds report to their maker by default, from the moment they are imported;
# what runs here is nobody's business.  Whoever wants to be counted sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["VERSION"]
__version__ = VERSION
