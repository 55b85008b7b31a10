"""index.html of the monitor: how the live version fares, in one file that asks nothing of the network and looks as the dossier does.

Made anew after every look from what is on record: facts of windows, decisions, alerts. Every string in them is escaped. The texts that
explain a change come from the request log and go with it: the page holds none that the log no longer does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from evergreen.drift.assumption import IN_SHORT
from evergreen.monitoring.watch import charts
from evergreen.monitoring.watch.history import Recorded
from evergreen.release.dossier import axis, environment

Facts = Mapping[str, Any]
SHOWN = 60  # windows and decisions in a table, at most
TONES = {"retrain": "bad", "wait": "warn", "nothing": "good"}


def watch_page(
    windows: Sequence[Facts],
    decisions: Sequence[Recorded],
    *,
    about: Mapping[str, Any],
    texts: Mapping[str, str],
    folder: str,
    waiting: str | None,
    now: float,
) -> str:
    """Return the page. `windows` and `decisions` come oldest first; `texts` by id are the rows that explain the last window.

    `about` is the section `document` of params.yaml; `folder` is where the page lies; `waiting` says why there is no newer window. The same
    arguments give the same bytes.
    """
    last = windows[-1] if windows else None
    decided = {one.id: one for one in decisions}
    newest = decisions[-1] if decisions else None
    view = {
        "about": about,
        "last": last,
        "state": state(last, newest),
        "newest": newest,
        "waiting": waiting,
        "folder": folder,
        "windows": [{**one, "decision": decided.get(one["id"])} for one in reversed(windows[-SHOWN:])],
        "decisions": [asdict(one) for one in reversed(decisions[-SHOWN:])],
        "tests": _tests(last),
        "rows": [{"id": row, "text": texts[row]} for row in ((last or {}).get("explanation") or {}).get("rows", []) if row in texts],
        "parts": _parts(last),
        "axis": axis(part["accuracy"] for kind in _parts(last).values() for part in kind),
        "plots": _plots(windows, [one.time for one in decisions if one.action == "retrain"]),
        "tones": TONES,
        "assumed": IN_SHORT,
        "now": now,
    }
    pages = environment("evergreen.monitoring.watch")
    pages.filters.update(moment=moment, p_value=p_value)
    return pages.get_template("watch.html.j2").render(**view) + "\n"


def state(last: Facts | None, decision: Recorded | None) -> dict[str, str]:
    """Return the word, the tone and the sentence that stand above everything else."""
    if last is None:
        return {"word": "NOT YET", "tone": "off", "sentence": "No window has been judged yet."}
    loss = (last["quality"] or {}).get("loss")
    lost = bool(loss and loss["low"] > 0)
    if decision is not None and decision.action == "retrain":
        return {"word": "RETRAIN", "tone": "bad", "sentence": decision.because}
    if last["drift"]["alarm"] or lost:
        word = "DRIFT" if last["drift"]["alarm"] else "LOSS"
        return {"word": word, "tone": "warn", "sentence": decision.because if decision else "Not decided upon yet."}
    if last["drift"]["p_value"] is None:
        return {"word": "NOT TESTED", "tone": "off", "sentence": decision.because if decision else last["drift"]["note"]}
    return {"word": "QUIET", "tone": "good", "sentence": decision.because if decision else "Not decided upon yet."}


def moment(seconds: float) -> str:
    """Return a point in time in UTC, as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def p_value(value: float | None) -> str:
    """Return a p-value with two digits that count."""
    return "–" if value is None else "< 0.000001" if value < 1e-6 else f"{value:.2g}" if value >= 1e-4 else f"{value:.6f}"


def _tests(last: Facts | None) -> list[dict[str, Any]]:
    """Return the last window's tests, alarms and small p-values first."""
    tests = last["drift"]["tests"] if last else []
    return sorted(tests, key=lambda test: (not test["alarm"], test["p_value"] is None, test["p_value"] or 0.0))


def _parts(last: Facts | None) -> dict[str, list[dict[str, Any]]]:
    """Return the measured accuracy of classes and groups, by what they are part of."""
    quality = (last or {}).get("quality") or {}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for part in [*quality.get("classes", []), *quality.get("groups", [])]:
        kinds.setdefault(part["by"], []).append(part)
    return kinds


def _plots(windows: Sequence[Facts], retrainings: Sequence[float]) -> dict[str, Any]:
    if not windows:
        return {}
    return {
        "drift": charts.drift(windows, [time for time in retrainings if time >= windows[0]["since"]]),
        "accuracy": charts.accuracy(windows),
        "words": charts.unknown_words(windows),
        "answers": charts.answers(windows),
    }
