"""MaskGIT Refine: the plugin for Krita, and the client that other programs share with it.

Inside Krita the import registers the action and the docker. Elsewhere (command line, tests,
other programs) there is no module ``krita`` and only :mod:`maskgit_refine.wire`,
:mod:`maskgit_refine.client` and :mod:`maskgit_refine.connection` are of use.
"""

from __future__ import annotations

from typing import Any

try:
    from krita import DockWidgetFactory, DockWidgetFactoryBase, Krita
except ImportError:
    Krita = None


def _register(application: Any) -> None:
    from .docker import Docker
    from .extension import RefineExtension
    from .refiner import Refiner
    from .worker import Worker

    refiner = Refiner(application, Worker())
    application.addExtension(RefineExtension(application, refiner))
    application.addDockWidgetFactory(
        DockWidgetFactory(
            "maskgit_refine_docker",
            DockWidgetFactoryBase.DockRight,
            lambda: Docker(application, refiner),
        )
    )


if Krita is not None:
    _register(Krita.instance())
