"""The dossier's plots, as inline SVG that follows the page's colours. The only module that knows matplotlib.

Plots are drawn in sentinel colours, which are then replaced by the page's CSS variables, so that one drawing serves light, dark
and print. Texts stay texts (the page's own font shows them). The same figures give the same bytes: no date, fixed ids.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

Row = Mapping[str, Any]
INK, MUTED, GRID, ACCENT, SECOND, BAD = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f", "#101112"
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", SECOND: "second", BAD: "bad"}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with dollar signs is no formula
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
LABELS_WITH_NAMES = 24


def training_curve(history: Sequence[Row], kept: Sequence[int], averaged: float | None) -> Markup:
    """Return loss on train and validation by epoch, a line for each training; `kept` marks the epochs whose weights were kept.

    `averaged`: validation loss of the mean of several trainings' weights; None: there was one training.
    """

    def draw(axes: Axes) -> None:
        last = max(row["epoch"] for row in history)
        for number in sorted({row["member"] for row in history}):
            rows = [row for row in history if row["member"] == number]
            epochs = [row["epoch"] for row in rows]
            for name, color, words in (("train_loss", SECOND, "train"), ("validation_loss", ACCENT, "validation")):
                label = words if number == 1 else None
                axes.plot(epochs, [row[name] for row in rows], color=color, marker="o", markersize=3.5, label=label)
        for epoch in sorted({*kept}):
            axes.axvline(epoch, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        if averaged is not None:
            axes.plot([last], [averaged], color=INK, marker="D", markersize=6, linestyle="none", zorder=3, label="validation, averaged")
        axes.set(xlabel="epoch", ylabel="loss", xlim=(0.5, last + 0.5), ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()

    return drawn("training-curve", "Loss on the train and validation splits by epoch", draw)


def reliability(bins: Sequence[Row]) -> Markup:
    """Return accuracy against confidence, with the interval of each bin; the diagonal is perfect calibration."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        judged = [row for row in bins if row["accuracy"]]
        most = max((row["rows"] for row in judged), default=1)
        for row in judged:
            figure = row["accuracy"]
            axes.plot([row["confidence"]] * 2, [figure["low"], figure["high"]], color=ACCENT, linewidth=1.2, alpha=0.55)
        sizes = [12 + 90 * row["rows"] / most for row in judged]
        places = [row["confidence"] for row in judged]
        axes.scatter(places, [row["accuracy"]["value"] for row in judged], s=sizes, color=ACCENT, linewidths=0, zorder=3)
        axes.set(xlabel="confidence of the model", ylabel="share right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))

    return drawn("reliability", "Share of right answers against the model's confidence, by bin", draw)


def coverage(curve: Sequence[Row], *, chosen: Row, target: float) -> Markup:
    """Return accuracy of the answered texts against the share answered; `chosen` is the point of the threshold."""

    def draw(axes: Axes) -> None:
        points = sorted({(row["coverage"], row["accuracy"]) for row in curve if row["accuracy"] is not None})
        axes.plot([x for x, _ in points], [y for _, y in points], color=ACCENT)
        axes.axhline(target, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        if chosen["accuracy_answered"] is not None:
            axes.scatter([chosen["coverage"]], [chosen["accuracy_answered"]], s=48, color=SECOND, linewidths=0, zorder=3)
        lowest = min([target, *(y for _, y in points)])
        axes.set(xlabel="share that the model answers by itself", ylabel="share right among those", xlim=(-0.02, 1.02))
        axes.set_ylim(max(0.0, lowest - 0.04), 1.01)

    return drawn("coverage", "Accuracy among answered texts against the share of texts answered", draw)


def learning(rows: Sequence[Row]) -> Markup:
    """Return the baseline's accuracy and macro F1 against the number of training rows."""

    def draw(axes: Axes) -> None:
        counts = [row["train_rows"] for row in rows]
        axes.plot(counts, [row["accuracy"] for row in rows], color=ACCENT, marker="o", markersize=3.5, label="accuracy")
        axes.plot(counts, [row["macro_f1"] for row in rows], color=SECOND, marker="o", markersize=3.5, label="macro F1")
        axes.set(xlabel="training rows", xlim=(0, None))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend()

    return drawn("learning", "The baseline's accuracy and macro F1 by number of training rows", draw)


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Return the confusion matrix as a heat map of shares of each row; numbers and names only while they fit."""
    named = len(labels) <= LABELS_WITH_NAMES

    def draw(axes: Axes) -> None:
        for row, line in enumerate(counts):
            total = sum(line)
            for column, count in enumerate(line):
                if count:
                    colour = ACCENT if row == column else BAD
                    # The root keeps small shares visible: a confusion is rarely more than a tenth of its row.
                    axes.add_patch(
                        Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.08 + 0.74 * (count / total) ** 0.5, linewidth=0)
                    )
                    if len(labels) <= 12:
                        axes.text(column + 0.5, row + 0.53, f"{count:,}", ha="center", va="center", fontsize=8)
        axes.set(xlim=(0, len(labels)), ylim=(len(labels), 0), aspect="equal", xlabel="answered by the model", ylabel="truth")
        _name_axes(axes, labels if named else None)

    return drawn("confusion", "Confusion matrix: the true label by row, the model's answer by column", draw, width=4.6, height=4.6)


def _name_axes(axes: Axes, labels: Sequence[str] | None) -> None:
    axes.grid(visible=False)
    if labels is None:
        axes.set(xticks=[], yticks=[])
        return
    places = [place + 0.5 for place in range(len(labels))]
    short = [label if len(label) <= 22 else label[:21] + "…" for label in labels]
    axes.set_xticks(places, short, rotation=40 if len(labels) <= 12 else 90, ha="right" if len(labels) <= 12 else "center")
    axes.set_yticks(places, short)


def drawn(name: str, description: str, draw: Callable[[Axes], None], *, width: float = 4.6, height: float = 2.9) -> Markup:
    """Draw on a figure of width x height inches and return it as inline SVG."""
    style: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), name, description)


def _inline(text: str, name: str, description: str) -> Markup:
    """Return a drawing without prologue and addresses, its ids told from other drawings', its colours the page's."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    opening = re.search(r'<svg[^>]*viewBox="([^"]+)"[^>]*>', text)
    if opening is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    head = f'<svg class="plot" viewBox="{opening[1]}" role="img" aria-label="{escape(description)}">'
    return Markup(head + text[opening.end() :].strip())
