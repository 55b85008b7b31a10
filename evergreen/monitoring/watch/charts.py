"""The plots of the monitor's page: windows over time, in the dossier's drawing style. Takes facts; knows nothing of pages."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import LogLocator, NullLocator

from evergreen.release.charts import ACCENT, BAD, INK, MUTED, SECOND, drawn

Facts = Mapping[str, Any]
LEAST_P = 1e-6  # below it a p-value is drawn as this
DAY = 86_400
DASHED: Any = (0, (3, 3))


def drift(windows: Sequence[Facts], retrainings: Sequence[float] = ()) -> Markup:
    """Return each window's p-value over time, rarer higher up; windows that alarm stand out, the dashed line is where alarms begin.

    `retrainings` are the times of decisions to retrain, marked at the foot.
    """

    def draw(axes: Axes) -> None:
        points = [
            (_day(one), max(LEAST_P, one["drift"]["p_value"]), one["drift"]["alarm"])
            for one in windows
            if one["drift"]["p_value"] is not None
        ]
        axes.plot([day for day, _, _ in points], [value for _, value, _ in points], color=MUTED, linewidth=1, alpha=0.6)
        for wanted, colour, size in ((False, ACCENT, 18), (True, BAD, 46)):
            chosen = [(day, value) for day, value, alarm in points if alarm is wanted]
            axes.scatter([day for day, _ in chosen], [value for _, value in chosen], s=size, color=colour, linewidths=0, zorder=3)
        level = windows[-1]["drift"]["level"]
        axes.axhline(level, color=BAD, linewidth=1, linestyle=DASHED)
        axes.set_yscale("log")
        axes.set(ylabel="p-value, rarer above", ylim=(1.6, min([level, *(value for _, value, _ in points)]) / 3))
        axes.scatter([time / DAY for time in retrainings], [1.0] * len(retrainings), s=42, marker="^", color=INK, linewidths=0, zorder=3)
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.6f}".rstrip("0").rstrip("."))
        _times(axes, windows)

    return drawn("drift-over-time", "The p-value of the drift tests by window, and the level at which they alarm", draw)


def accuracy(windows: Sequence[Facts]) -> Markup:
    """Return accuracy over time: measured by late labels and estimated without, with intervals; dashed, that of the snapshot."""

    def draw(axes: Axes) -> None:
        aside = 0.008 * (_day(windows[-1]) - _day(windows[0]))  # so that the two do not hide one another
        for part, colour, name, side in (("quality", ACCENT, "measured", -aside), ("estimate", SECOND, "estimated", aside)):
            found = [(_day(one) + side, one[part]["accuracy"]) for one in windows if (one[part] or {}).get("accuracy")]
            for day, figure in found:
                axes.plot([day, day], [figure["low"], figure["high"]], color=colour, linewidth=1.2, alpha=0.5)
            if found:
                values = [figure["value"] for _, figure in found]
                axes.plot([day for day, _ in found], values, color=colour, marker="o", markersize=3.5, linewidth=1.2, label=name)
        _before(axes, windows, [one["accuracy_at_snapshot"] for one in windows])
        axes.set(ylabel="accuracy")
        _times(axes, windows)
        _legend(axes)

    return drawn("accuracy-over-time", "Accuracy by window, measured by late labels and estimated without them", draw)


def unknown_words(windows: Sequence[Facts]) -> Markup:
    """Return the share of words that the training did not know, over time; dashed, that of the snapshot."""

    def draw(axes: Axes) -> None:
        told = [one["descriptors"]["unknown_word_share"] for one in windows]
        axes.plot([_day(one) for one in windows], [one["now"] for one in told], color=ACCENT, marker="o", markersize=3.5)
        _before(axes, windows, [one["before"] for one in told])
        axes.set(ylabel="words unknown to training", ylim=(0, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        _times(axes, windows)

    return drawn("unknown-words", "Share of words that training did not know, by window", draw)


def answers(windows: Sequence[Facts]) -> Markup:
    """Return how many answers each window holds, and how many of them had a label when it was judged."""

    def draw(axes: Axes) -> None:
        days = [_day(one) for one in windows]
        for name, colour, title in (("rows", ACCENT, "answers"), ("labelled", SECOND, "labelled by then")):
            axes.plot(days, [one[name] for one in windows], color=colour, marker="o", markersize=3.5, label=title)
        axes.set(ylabel="texts", ylim=(0, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _times(axes, windows)
        _legend(axes)

    return drawn("answers-over-time", "Answers and labelled answers by window", draw)


def _before(axes: Axes, windows: Sequence[Facts], values: Sequence[float | None]) -> None:
    """Draw what a figure was at the snapshot of each window's version, from the beginning of its first window to the end of its last."""
    for window, value in zip(windows, values, strict=True):
        if value is not None:
            axes.plot([window["since"] / DAY, _day(window)], [value, value], color=MUTED, linewidth=1, linestyle=DASHED)


def _legend(axes: Axes) -> None:
    """Name the lines above the plot, where they hide nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)


def _times(axes: Axes, windows: Sequence[Facts]) -> None:
    """Draw the time axis, with a line where another version went live."""
    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    for before, after in pairwise(windows):
        if before["model_version"] != after["model_version"]:
            axes.axvline(after["since"] / DAY, color=INK, linewidth=1, alpha=0.5)
    first, last = windows[0]["since"] / DAY, _day(windows[-1])
    margin = 0.04 * (last - first)
    axes.set_xlim(first - margin, last + margin)


def _day(window: Facts) -> float:
    """Return where a window stands on the time axis: at its end, in days since 1970, as matplotlib counts them."""
    return float(window["until"]) / DAY
