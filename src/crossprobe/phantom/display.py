"""The scanner's screen: where the image sits, and the text, ticks and logo its vendor puts around it.

The three screens are inventions in the manner of a tablet, a laptop and a cart console. Nothing but a small
orientation mark is drawn over the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from crossprobe.phantom.settings import ProbeSettings
from crossprobe.phantom.sweep import SweepPlan

FONT = cv2.FONT_HERSHEY_SIMPLEX
# top, bottom, left, right margins as shares of the screen's height (first two) and width.
MARGINS = {
    "tablet": (0.085, 0.045, 0.03, 0.10),
    "laptop": (0.045, 0.05, 0.19, 0.02),
    "console": (0.11, 0.10, 0.07, 0.07),
}


@dataclass(frozen=True)
class Screen:
    """Where the ultrasound area lies on the screen, in px, and the side of a pixel in mm."""

    frame_height: int
    frame_width: int
    top: int
    left: int
    height: int
    width: int
    spacing_mm: float


def lay_out(probe: ProbeSettings, depth_mm: float, frame_height: int, frame_width: int) -> Screen:
    """Fits the image into the room the vendor's margins leave, with square pixels.

    Args:
        probe: Its width and whose screen.
        depth_mm: Depth of the image.
        frame_height: Screen height in px.
        frame_width: Screen width in px.

    Returns:
        The layout.
    """
    above, below, before, after = MARGINS[probe.display]
    top, left = round(above * frame_height), round(before * frame_width)
    room_height = frame_height - top - round(below * frame_height)
    room_width = frame_width - left - round(after * frame_width)
    spacing = max(depth_mm / room_height, probe.width_mm / room_width)
    # The tiny term keeps an exact fit from losing a row to rounding.
    height, width = int(depth_mm / spacing + 1e-6), int(probe.width_mm / spacing + 1e-6)
    return Screen(
        frame_height, frame_width, top, left + (room_width - width) // 2, height, width, float(spacing)
    )


def empty_screen(probe: ProbeSettings, plan: SweepPlan, screen: Screen) -> np.ndarray:
    """Draws everything that stays the same over a video.

    Args:
        probe: Whose screen.
        plan: Gives depth, gain and view for the text.
        screen: The layout.

    Returns:
        uint8 [frame_height, frame_width].
    """
    canvas = np.zeros((screen.frame_height, screen.frame_width), np.uint8)
    {"tablet": _tablet, "laptop": _laptop, "console": _console}[probe.display](canvas, probe, plan, screen)
    return canvas


def show(
    canvas: np.ndarray, grey: np.ndarray, probe: ProbeSettings, screen: Screen, frame: int
) -> np.ndarray:
    """Puts one image on the screen.

    Args:
        canvas: The empty screen; not changed.
        grey: Image, 0 to 1, float32 [Z, X].
        probe: Whose screen.
        screen: The layout.
        frame: Frame number for the counter.

    Returns:
        uint8 [frame_height, frame_width].
    """
    shown = canvas.copy()
    method = cv2.INTER_AREA if grey.shape[0] > screen.height else cv2.INTER_LINEAR
    # Shrink along depth first and stretch laterally after: each direction with the filter it needs.
    fitted = cv2.resize(grey, (grey.shape[1], screen.height), interpolation=method)
    fitted = cv2.resize(fitted, (screen.width, screen.height), interpolation=cv2.INTER_LINEAR)
    image = np.clip(fitted * 255 + 0.5, 0, 255).astype(np.uint8)
    shown[screen.top : screen.top + screen.height, screen.left : screen.left + screen.width] = image
    mark = {"tablet": "o", "laptop": "<", "console": "P"}[probe.display]
    unit = _unit(shown)
    _text(shown, mark, screen.left + 2 * unit, screen.top + 9 * unit, 0.32, 190)
    if probe.display == "laptop":
        _text(shown, f"{frame + 1:04d}", 4, screen.frame_height - 5, 0.3, 140)
    elif probe.display == "tablet":
        _text(shown, f"{frame + 1}", screen.frame_width - 26 * unit, screen.frame_height - 5, 0.3, 120)
    return shown


def _text(canvas: np.ndarray, text: str, x: float, y: float, size: float = 0.3, grey: int = 170) -> None:
    scale = size * _unit(canvas)
    cv2.putText(canvas, text, (int(x), int(y)), FONT, scale, int(grey), 1, cv2.LINE_AA)


def _unit(canvas: np.ndarray) -> float:
    """Px of this screen to one px of the 320-row screen that texts were laid out on."""
    return canvas.shape[0] / 320


def _column(canvas: np.ndarray, lines: Sequence[str], x: float, y: float, size: float, grey: int) -> None:
    """Lines of text one below another, in px of the 320-row screen."""
    unit = _unit(canvas)
    for order, line in enumerate(lines):
        _text(canvas, line, x * unit, (y + 44 * size * order) * unit, size, grey)


def _ticks(canvas: np.ndarray, screen: Screen, x: int, every_mm: int, long: int, numbers: bool) -> None:
    """Depth ruler at column x: a tick every few mm, a longer one (and a number in cm) every 10."""
    for millimetre in range(0, int(screen.height * screen.spacing_mm) + 1, every_mm):
        y = int(screen.top + millimetre / screen.spacing_mm)
        major = millimetre % 10 == 0
        cv2.line(canvas, (x, y), (x + (long if major else long // 2), y), 170 if major else 100, 1)
        if numbers and major and millimetre:
            _text(canvas, str(millimetre // 10), x + long + 3, y + 3, 0.28, 150)


def _tablet(canvas: np.ndarray, probe: ProbeSettings, plan: SweepPlan, screen: Screen) -> None:
    unit = _unit(canvas)
    status = f"{probe.frames_per_s:.0f}Hz  {plan.depth_mm / 10:.1f}cm  MI 0.9  TIS 0.1"
    _column(canvas, ["MSK  Sup"], 6, 11, 0.34, 210)
    _column(canvas, [f"2D  G{50 + 2 * plan.gain_db:.0f}  C{probe.dynamic_range_db:.0f}"], 6, 22, 0.28, 130)
    _column(canvas, [status], 96, 11, 0.3, 150)
    bar = np.linspace(20, 240, round(32 * unit)).astype(np.uint8)
    canvas[round(3 * unit) : round(9 * unit), -len(bar) - 8 : -8] = bar[None, :]
    _ticks(canvas, screen, screen.left + screen.width + 4, 5, 6, True)
    focus = int(screen.top + probe.focus_mm / screen.spacing_mm)
    cv2.drawMarker(canvas, (screen.left + screen.width + 24, focus), 160, cv2.MARKER_TRIANGLE_UP, 6, 1)


def _laptop(canvas: np.ndarray, probe: ProbeSettings, plan: SweepPlan, screen: Screen) -> None:
    unit = _unit(canvas)
    centre = (round(14 * unit), round(18 * unit))
    cv2.drawMarker(canvas, centre, 200, cv2.MARKER_DIAMOND, round(16 * unit), 1)
    cv2.drawMarker(canvas, centre, 200, cv2.MARKER_TILTED_CROSS, round(8 * unit), 1)
    lines = (
        "[B]",
        f"FPS {probe.frames_per_s:.0f}",
        f"De {plan.depth_mm:.0f} mm",
        f"DR {probe.dynamic_range_db:.0f} dB",
        f"Gn {62 + 3 * plan.gain_db:.0f} %",
        f"Frq {probe.centre_mhz:.1f}",
        f"Pers {probe.persistence * 10:.0f}",
        "Wrist",
    )
    _column(canvas, lines, 4, 48, 0.28, 150)
    bar = np.linspace(250, 5, round(60 * unit)).astype(np.uint8)
    top = round(170 * unit)
    canvas[top : top + len(bar), round(6 * unit) : round(14 * unit)] = bar[:, None]
    _ticks(canvas, screen, screen.left - 8, 10, 6, False)
    for millimetre in range(0, int(probe.width_mm), 10):
        x = int(screen.left + millimetre / screen.spacing_mm)
        cv2.line(canvas, (x, screen.top + screen.height + 2), (x, screen.top + screen.height + 6), 140, 1)


def _console(canvas: np.ndarray, probe: ProbeSettings, plan: SweepPlan, screen: Screen) -> None:
    unit = _unit(canvas)
    right = screen.frame_width / unit - 112
    canvas[: int(0.085 * screen.frame_height)] = 26
    _column(canvas, ["PHANTOM CLINIC"], 8, 11, 0.34, 200)
    _column(canvas, ["Small parts"], 8, 22, 0.28, 140)
    _column(canvas, ["TIs 0.2  MI 1.1"], right, 11, 0.3, 170)
    _column(canvas, [f"{probe.centre_mhz:.0f}L  R{plan.depth_mm:.0f}"], right, 22, 0.28, 140)
    _ticks(canvas, screen, screen.left - 9, 5, 7, False)
    _column(canvas, [plan.view.replace("_", " ")], screen.left / unit, 312, 0.34, 190)
