"""The one kind of error a user sees: a sentence that says what happened and what to do."""

from __future__ import annotations


class MaskgitError(Exception):
    """Something the user can understand and act on; ``str(error)`` is one sentence."""


class RequestError(MaskgitError):
    """A request that cannot be served as it stands; nothing was computed."""


class BundleError(MaskgitError):
    """A model bundle that is missing, damaged or of another format."""
