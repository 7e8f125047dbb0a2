"""Both images beside each other in a window: the moving one is turned by hand, and the cursor is in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QDial,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from correlight.geometry import Points
from correlight.napari.by_hand import ByHand
from correlight.napari.canvas import Canvas
from correlight.napari.linked import FoundLink, HandLink
from correlight.transforms import Affine

# Pixels of the screen.
_SIZE, _DIAL = (1100, 640), 56


class SideBySide(QWidget):
    """Two linked canvases.

    Parameters
    ----------
    window : QWidget
        The window of napari, with which this one is closed.
    fixed, moving : sequence of napari layers
        The channels of both images.
    turn : ByHand
        How the moving image is turned at first.
    found : callable
        Gives the link of the result that is shown at the moment; None where there is none.
    taken : callable
        Called with the turn that a person made when it shall be the start of a registration.
    """

    def __init__(
        self,
        window: QWidget,
        fixed: Sequence[Any],
        moving: Sequence[Any],
        turn: ByHand,
        found: Callable[[], FoundLink | None],
        taken: Callable[[ByHand], None],
    ) -> None:
        super().__init__(window, Qt.WindowType.Window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"{fixed[0].name} and {moving[0].name} side by side")
        self.turn, self.open = turn, True
        self._found, self._taken, self._quiet = found, taken, True
        self.left = Canvas("fixed", fixed, turn.fixed, self._left_moved, self._left_pointed)
        self.right = Canvas("moving", moving, turn.moving, self._right_moved, self._right_pointed)
        self._link: FoundLink | HandLink = HandLink(turn)
        self._lay_out()
        self.resize(*_SIZE)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.show_whole)
        self._place()
        self._quiet = False

    def _lay_out(self) -> None:
        self.dial, self.degrees = QDial(), QDoubleSpinBox()
        self.dial.setWrapping(True)
        self.dial.setRange(0, 359)
        self.dial.setFixedSize(_DIAL, _DIAL)
        self.degrees.setRange(0.0, 360.0)
        self.degrees.setWrapping(True)
        self.degrees.setDecimals(1)
        self.degrees.setSuffix("°")
        self.mirror, self.linked = QCheckBox("mirrored"), QCheckBox("same place in both middles")
        self.linked.setChecked(True)
        self.linked.setToolTip(
            "Untick to move and zoom each image alone, and tick again when the same place is in the middle of both."
        )
        self.use, self.words = QPushButton("Start from this"), QLabel()
        self.words.setWordWrap(True)
        row = QHBoxLayout()
        for part in (QLabel("turn the moving image"), self.dial, self.degrees, self.mirror, self.linked):
            row.addWidget(part)
        row.addWidget(self.words, stretch=1)
        row.addWidget(self.use)
        both = QSplitter(Qt.Orientation.Horizontal)
        both.addWidget(self.left.native)
        both.addWidget(self.right.native)
        whole = QVBoxLayout(self)
        whole.addWidget(both, stretch=1)
        whole.addLayout(row)
        self.dial.valueChanged.connect(self._dialled)
        self.degrees.valueChanged.connect(self._turned)
        self.mirror.toggled.connect(self._turned)
        self.linked.toggled.connect(self._relinked)
        self.use.clicked.connect(self._use)

    def showEvent(self, event: Any) -> None:
        """Show both images once the canvases have their size."""
        super().showEvent(event)
        self._soon.start(0)

    def show_whole(self) -> None:
        """Show both images whole, at the same scale."""
        self._quiet = True
        for canvas in (self.left, self.right):
            canvas.model.reset_view()
        middle = self.left.middle
        widest = min(self.left.zoom, self.right.zoom * self._link.scale(middle))
        self._quiet = False
        self.left.look_at(middle, widest)

    def closeEvent(self, event: Any) -> None:
        """Let go of everything."""
        if self.open:
            self.open = False
            self._soon.stop()
            self.left.close()
            self.right.close()
        super().closeEvent(event)

    # What is turned.

    def refresh(self) -> None:
        """Follow what is known: the transform of a result, else the turn by hand."""
        found = self._found()
        if found is not self._link and (found is not None or not isinstance(self._link, HandLink)):
            self._link = found or HandLink(self.turn)
            self._place()

    def _place(self) -> None:
        """Turn the moving image as it is linked, and say what the start would be."""
        self._quiet, by_hand = True, isinstance(self._link, HandLink)
        turn = self._link.turn
        self.left.place(turn.fixed, Affine.identity())
        self.right.place(turn.moving, turn.shown)
        self.dial.setValue(round(turn.degrees) % 360)
        self.degrees.setValue(turn.degrees)
        self.mirror.setChecked(turn.mirror)
        if not by_hand:
            self.linked.setChecked(True)
        for part in (self.dial, self.degrees, self.mirror, self.linked, self.use):
            part.setEnabled(by_hand)
        self.words.setText(
            f"Start: {turn.sentence}." if by_hand else "Linked by the result; Undo in the panel to turn by hand again."
        )
        self.left.mark(None)
        self.right.mark(None)
        self._quiet = False
        self._left_moved()

    def _dialled(self, degrees: int) -> None:
        # The dial counts whole degrees, and must not round what was typed.
        if not self._quiet and round(self.degrees.value()) % 360 != degrees:
            self.degrees.setValue(degrees)

    def _turned(self, _: Any = None) -> None:
        if not self._quiet:
            self.turn = self.turn.turned(self.degrees.value() % 360.0, self.mirror.isChecked())
            self._link = HandLink(self.turn)
            self._place()

    def _relinked(self, linked: bool) -> None:
        """Take the places in the middle of both views for the same."""
        if self._quiet or not linked:
            return
        places = np.stack([self.left.middle[-2:], self.right.middle[-2:]])
        calibrated = self.turn.fixed.calibrated and self.turn.moving.calibrated
        ratio = None if calibrated else self.left.zoom / self.right.zoom
        self.turn = replace(self.turn, places=places, ratio=ratio)
        self._link = HandLink(self.turn)
        self._place()

    def _use(self) -> None:
        self._taken(self.turn)

    # What is seen.

    def _left_moved(self) -> None:
        if self._quiet or not self.linked.isChecked():
            return
        self._quiet = True
        try:
            here = self.left.middle
            self.right.look_at(self._link.moving(here), self.left.zoom / self._link.scale(here))
        finally:
            self._quiet = False

    def _right_moved(self) -> None:
        if self._quiet or not self.linked.isChecked():
            return
        self._quiet = True
        try:
            here = self._link.fixed(self.right.middle)
            if np.isfinite(here[-2:]).all():
                self.left.look_at(here, self.right.zoom * self._link.scale(here))
        finally:
            self._quiet = False

    def _left_pointed(self, place: Points) -> None:
        self.refresh()
        there = self._link.moving(place)
        self.left.mark(None)
        self.right.mark(there)
        self._say(place, there)

    def _right_pointed(self, place: Points) -> None:
        self.refresh()
        there = self._link.fixed(place)
        self.right.mark(None)
        self.left.mark(there)
        self._say(there, place)

    def _say(self, fixed: Points, moving: Points) -> None:
        if not isinstance(self._link, HandLink):
            here, there = (
                ", ".join(f"{at:.4g}" for at in place) if np.isfinite(place).all() else "nowhere"
                for place in (fixed, moving)
            )
            units = self.left.grid.frame.symbol, self.right.grid.frame.symbol
            self.words.setText(f"fixed {here} {units[0]}; moving {there} {units[1]}")
