"""Draws a curve as an SVG file, with matplotlib (``pip install '.[bench]'``)."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.report import Curve

MISSING: Final = "found no matplotlib, so no curve is drawn: pip install '.[bench]'"


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(curve: Curve, folder: Path) -> Path:
    """Write FOLDER/title-of-the-curve.svg. The same points give the same bytes."""
    import matplotlib as mpl  # noqa: PLC0415 - a machine without it can measure all the same

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', curve.title.lower()).strip('-')}.svg"
    with mpl.rc_context({"svg.hashsalt": curve.title, "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        for name, points in curve.points_by_series.items():
            across, up = zip(*points, strict=True)
            axes.plot(across, up, marker="o", markersize=3, label=name)
        if curve.is_x_log:
            axes.set_xscale("log")
        axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path
