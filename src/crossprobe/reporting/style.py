"""One look for every figure: themes, colours that colour-blind readers can tell apart, names of things."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import cycle
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of a figure's furniture.

    Attributes:
        ink: Text.
        muted: Secondary text and axes.
        grid: Grid lines.
        band: Background of every other row.
        surface: Page behind the figure, for the inside of hollow markers.
    """

    ink: str
    muted: str
    grid: str
    band: str
    surface: str


LIGHT = Theme("#1b2530", "#5c6873", "#dde3e8", "#f4f6f8", "#ffffff")
DARK = Theme("#e6ebf0", "#9aa7b3", "#33404c", "#1c2630", "#151d25")

# Okabe and Ito's palette: an arm keeps its colour in every figure.
_COLOURS = {
    "source_only": "#7c8894",
    "source_only_imagenet": "#4e5a66",
    "mim": "#0072b2",
    "simclr": "#56b4e9",
    "mt_nxent": "#009e73",
    "fused_average": "#e69f00",
    "fused_entropy": "#d55e00",
    "target_supervised": "#b5669a",
}
_SPARE = ("#e69f00", "#cc79a7", "#8f7a00", "#6a51a3", "#a6761d", "#1b9e9e", "#d0417e", "#668000")
# Dark blues and greys sink into a dark page.
_LIFTED = {"#0072b2": "#7c9cff", "#4e5a66": "#a9b4bf", "#7c8894": "#98a4af", "#8f7a00": "#c9b537"}

_ARMS = {
    "source_only": "Source only",
    "source_only_imagenet": "Source only, ImageNet start",
    "mim": "MIM",
    "simclr": "SimCLR (gap\u00a00)",
    "mt_nxent": "MT-NXent",
    "fused_average": "Plain average",
    "fused_entropy": "Fusion, entropy",
    "fused_margin": "Fusion, margin",
    "fused_temperature": "Fusion, calibrated",
    "target_supervised": "Target-supervised reference",
    "dann": "DANN",
    "dann_unreversed": "DANN, gradient not reversed (control)",
    "dann_few_labels": "DANN, then a few target labels",
    "source_few_labels": "Source only, then a few target labels",
    "multi_source": "Two labelled sources",
    "grouped": "Split by patient or group",
    "by_image": "Split by image (control)",
    "densenet121": "DenseNet121",
    "inception_v3": "InceptionV3",
    "xception": "Xception",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "inception_resnet_v2": "InceptionResNetV2",
    "mobilenet_v2": "MobileNetV2",
    "ensemble_average": "Ensemble, average",
    "ensemble_vote": "Ensemble, vote",
}
_METRICS = {
    "dsc": "DSC",
    "iou": "IoU",
    "hd95": "HD95",
    "assd": "ASSD",
    "nsd": "NSD",
    "ece": "ECE",
    "brier": "Brier",
    "loss": "loss",
    "dice_bce": "Dice + BCE",
    "mim_loss": "L1 on masked patches",
    "dsc_truth": "DSC, true mask",
    "auroc": "AUROC",
    "aurc": "AURC",
    "nll": "log loss",
    "f1_macro": "macro F1",
    "precision_macro": "macro precision",
    "fpr_macro": "false positive rate",
}

REFERENCE_OUTLINE = "#ffd43b"
PREDICTION_OUTLINE = "#35b7ff"


def arm_label(arm: str) -> str:
    """Name of an arm for people."""
    return _ARMS.get(arm) or arm.replace("fused_", "Fusion, ").replace("_", " ")


def metric_label(metric: str) -> str:
    """Name of a metric for people; the unit of a distance in brackets."""
    name, _, unit = metric.partition("_")
    if name in ("hd95", "assd") and unit:
        return f"{_METRICS[name]} ({unit})"
    return _METRICS.get(metric) or _METRICS.get(name) or metric.replace("_", " ")


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """Gives each arm its colour; unknown arms take in order the spare ones that no known arm beside them has.

    Args:
        arms: Names of arms.

    Returns:
        Hex colour by arm.
    """
    taken = {_COLOURS[arm] for arm in arms if arm in _COLOURS}
    spare = cycle(colour for colour in _SPARE if colour not in taken)
    return {arm: _COLOURS.get(arm) or next(spare) for arm in arms}


@contextmanager
def drawing() -> Iterator[None]:
    """Sets the look for figures drawn inside, and leaves the rest of the program alone.

    Yields:
        Nothing.
    """
    look: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": LIGHT.muted,
        "axes.labelcolor": LIGHT.ink,
        "axes.titlecolor": LIGHT.ink,
        "axes.facecolor": "none",
        "axes.grid": False,
        "axes.axisbelow": True,
        "grid.color": LIGHT.grid,
        "grid.linewidth": 0.8,
        "text.color": LIGHT.ink,
        "xtick.color": LIGHT.muted,
        "ytick.color": LIGHT.muted,
        "xtick.labelcolor": LIGHT.ink,
        "ytick.labelcolor": LIGHT.ink,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.6,
        # Text stays text: small files, and the reader's own font.
        "svg.fonttype": "none",
        "svg.hashsalt": "crossprobe",
    }
    with mpl.rc_context(look):
        yield


def bands(axes: Axes, rows: int) -> None:
    """Shades every other row of a chart with one row an item, and hides the furniture it does not need."""
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=LIGHT.band, linewidth=0, zorder=-2)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def svg_bytes(figure: Figure) -> bytes:
    """Draws a figure as SVG whose text takes the reader's own sans-serif font; same figure, same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crossprobe"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    fonts = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
    text = re.sub(r"'DejaVu Sans'(, sans-serif)?", fonts, buffer.getvalue().decode())
    # The document type names a web address; no viewer needs it.
    text = re.sub(r"<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL).encode()


_IN_THE_DARK = _LIFTED | dict(zip(astuple(LIGHT), astuple(DARK), strict=True))


def darkened(svg: bytes) -> bytes:
    """Gives a chart, drawn as SVG, the colours that read well on a dark page.

    Args:
        svg: From `svg_bytes`.

    Returns:
        The same chart; colours that are neither furniture nor too dark stay.
    """
    colours = "|".join(map(re.escape, _IN_THE_DARK))
    return re.sub(rf"{colours}\b", lambda found: _IN_THE_DARK[found.group()], svg.decode()).encode()


_DRAWN: WeakKeyDictionary[Figure, dict[int, bytes]] = WeakKeyDictionary()


def png_bytes(figure: Figure, dots_per_inch: int = 144) -> bytes:
    """Draws a figure as PNG, once: catalog, experiment record and page show the same picture.

    Args:
        figure: Not changed after it was drawn for the first time.
        dots_per_inch: Resolution.

    Returns:
        The file's content.
    """
    drawn = _DRAWN.setdefault(figure, {})
    if dots_per_inch not in drawn:
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="png", dpi=dots_per_inch, bbox_inches="tight", metadata={"Software": None}
        )
        drawn[dots_per_inch] = buffer.getvalue()
    return drawn[dots_per_inch]


def data_address(content: bytes, kind: str) -> str:
    """Packs an image into the page itself.

    Args:
        content: The image's bytes.
        kind: Media type, such as `image/png`.

    Returns:
        A `data:` address.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
