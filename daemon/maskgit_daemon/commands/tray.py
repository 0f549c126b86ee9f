"""``maskgit tray``: the daemon in the system tray, to see it, start it, stop it, read its log."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout
from PySide6.QtCore import QObject, Qt, QThread, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QColor, QDesktopServices, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

from maskgit_daemon.connection_file import prepare_folder, write_launcher
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.folders import log_folder
from maskgit_refine.client import Client, connect
from maskgit_refine.connection import ClientError, NoDaemonError, home_folder
from maskgit_refine.launch import connect_or_start

LOOK_MS = 1000
TRAY_MS = 200
GREYS = ("#8a8a8a", "#a8a8a8", "#777777", "#b5b5b5")
COLOURS = ("#3a7d44", "#e0a458", "#4f86c6", "#c8553d")


@click.command()
@click.option(
    "--wait",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds to wait for the desktop to show its tray.",
)
def tray(wait: float) -> None:
    """Show the daemon in the system tray, until Quit (the daemon goes on) or Ctrl-C."""
    home = home_folder()
    prepare_folder(home)
    if sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        raise MaskgitError("There is no desktop to show the tray icon on; use maskgit daemon.")
    try:
        with FileLock(home / "tray.lock", timeout=0):
            write_launcher(home)
            show(home, wait)
    except Timeout:
        raise MaskgitError("The tray icon is shown already.") from None


def show(home: Path, wait: float) -> None:
    """Run the icon's event loop; :class:`MaskgitError` if there is no tray within ``wait`` s."""
    app = QApplication(["maskgit"])
    app.setQuitOnLastWindowClosed(False)
    until = time.monotonic() + wait
    while not QSystemTrayIcon.isSystemTrayAvailable():
        if time.monotonic() > until:
            raise MaskgitError("This desktop shows no system tray; use maskgit daemon instead.")
        QThread.msleep(TRAY_MS)
        app.processEvents()
    signal.signal(signal.SIGINT, lambda *_: app.quit())
    signal.signal(signal.SIGTERM, lambda *_: app.quit())
    thread = QThread()
    watcher = Watcher(home)
    watcher.moveToThread(thread)
    thread.start()
    icon = Icon(watcher)
    app.exec()
    icon.hide()
    QTimer.singleShot(0, watcher, watcher.end)
    thread.wait()


class Watcher(QObject):
    """Talks to the daemon in a thread of its own, so that the menu never waits.

    ``told`` carries the daemon's status, or an empty dict while none runs; ``failed`` a sentence.
    """

    told = Signal(dict)
    failed = Signal(str)

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self._client: Client | None = None

    @Slot()
    def look(self) -> None:
        """Tell how the daemon is."""
        try:
            if self._client is None:
                self._client = connect(self._home)
            self.told.emit(self._client.status())
        except ClientError:
            self._forget()
            self.told.emit({})

    @Slot()
    def start_daemon(self) -> None:
        """Start a daemon if none runs."""
        try:
            self._forget()
            self._client = connect_or_start(self._home)
        except ClientError as error:
            self.failed.emit(str(error))
        self.look()

    @Slot()
    def stop_daemon(self) -> None:
        """Ask the daemon to end."""
        try:
            if self._client is None:
                self._client = connect(self._home)
            self._client.shutdown()
        except NoDaemonError:
            pass
        except ClientError as error:
            self.failed.emit(str(error))
        self._forget()
        self.told.emit({})

    @Slot()
    def end(self) -> None:
        """Let go of the daemon and end the thread."""
        self._forget()
        QThread.currentThread().quit()

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Icon(QObject):
    """The icon, its menu, and the clock that asks the watcher."""

    look = Signal()
    start_daemon = Signal()
    stop_daemon = Signal()

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._menu = QMenu()
        self._state = self._menu.addAction("Asking the daemon …")
        self._state.setEnabled(False)
        self._menu.addSeparator()
        self._start = self._menu.addAction("&Start the daemon")
        self._stop = self._menu.addAction("S&top the daemon")
        self._log = self._menu.addAction("Open the &log")
        self._menu.addSeparator()
        self._quit = self._menu.addAction("&Quit")
        self._start.triggered.connect(self.start_daemon)
        self._stop.triggered.connect(self.stop_daemon)
        self._log.triggered.connect(self.open_log)
        self._quit.triggered.connect(QApplication.quit)
        for signal_, slot in (
            (self.look, watcher.look),
            (self.start_daemon, watcher.start_daemon),
            (self.stop_daemon, watcher.stop_daemon),
        ):
            signal_.connect(slot, Qt.ConnectionType.QueuedConnection)
        watcher.told.connect(self.tell)
        watcher.failed.connect(self.complain)
        self._icon = QSystemTrayIcon(drawn(GREYS), self)
        self._icon.setContextMenu(self._menu)
        self._icon.show()
        self.tell({})
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.look)
        self._clock.start(LOOK_MS)
        self.look.emit()

    def hide(self) -> None:
        """Take the icon away."""
        self._clock.stop()
        self._icon.hide()

    @Slot(dict)
    def tell(self, status: dict[str, Any]) -> None:
        """Show the daemon's ``status``; an empty one means that none runs."""
        sentence = describe(status)
        self._state.setText(sentence)
        self._icon.setToolTip(f"MaskGIT: {sentence}")
        self._icon.setIcon(drawn(COLOURS if status else GREYS))
        self._start.setEnabled(not status)
        self._stop.setEnabled(bool(status))

    @Slot(str)
    def complain(self, sentence: str) -> None:
        """Show what went wrong."""
        self._icon.showMessage("MaskGIT", sentence, QSystemTrayIcon.MessageIcon.Warning)

    @Slot()
    def open_log(self) -> None:
        """Open the log file, or its folder before there is one."""
        folder = log_folder()
        path = folder / "daemon.log"
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.exists() else folder)))


def describe(status: dict[str, Any]) -> str:
    """A line for the menu: whether it runs, where, with what, and how busy it is."""
    if not status:
        return "No daemon is running"
    jobs = status.get("jobs", 0)
    busy = "idle" if not jobs else "1 job" if jobs == 1 else f"{jobs} jobs"
    loaded = ", ".join(status.get("loaded", ())) or "no model loaded"
    return f"Running on {status.get('device')}: {loaded}; {busy}"


def drawn(colours: tuple[str, ...], side: int = 64) -> QIcon:
    """Four tokens, one of them half taken away."""
    pixmap = QPixmap(side, side)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    half, gap = side // 2, side // 16
    for index, colour in enumerate(colours):
        left, top = (index % 2) * half, (index // 2) * half
        inset = gap if index < 3 else gap * 3
        painter.setBrush(QColor(colour))
        size = half - 2 * inset
        painter.drawRoundedRect(left + inset, top + inset, size, size, gap, gap)
    painter.end()
    return QIcon(pixmap)
