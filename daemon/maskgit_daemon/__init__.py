"""The daemon: keeps ONNX models resident, decodes in Python, returns regenerated patches."""

from maskgit_daemon.version import VERSION

__all__ = ["VERSION"]
__version__ = VERSION
