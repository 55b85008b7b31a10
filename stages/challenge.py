"""challenge: champion and challenger on the same test rows -> who is right more often, what was forgotten, what so few rows can tell."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.errors import EvidenceError
from evergreen.evaluation.challenge import Bout, Terms, compared, is_new, sliced, worst_slice
from evergreen.evaluation.intervals import cluster_codes, shown
from evergreen.evaluation.slices import slices_of
from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report
from evergreen.sections.gate import MaxLoss
from evergreen.wording import counted
from stages._run import main, say

NOBODY = "there is no champion to compare with"


def challenge(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Compare both where there is a champion."""
    if not (inputs.champion / "champion.json").is_file():
        say(f"{NOBODY}: nothing is compared, and the gate's rules that need one are off")
        write_report({"champion": None, "reason": NOBODY}, outputs.report)
        return
    who = read_report(inputs.champion / "champion.json")
    test = read_table(inputs.predictions)
    answers = _answers(inputs.champion, who, test["text"].tolist())
    bout = Bout(
        champion_N=answers == test["label"].to_numpy(str),
        challenger_N=(test["prediction"] == test["label"]).to_numpy(bool),
        clusters_N=cluster_codes(test["customer"].tolist()) if "customer" in test.columns else None,
    )
    report = {
        "champion": who,
        "model_version": test["model_version"].iloc[0],
        "since": None if params.challenge.since is None else params.challenge.since.isoformat(),
        "level": params.challenge.level,
        "resamples": params.challenge.resamples,
        "drawn": "rows" if bout.clusters_N is None else "customers",
        **_figures(params, bout, test),
        "changed_answers": round(float((answers != test["prediction"].to_numpy(str)).mean()), 6),
        "reason": None,
    }
    write_report(report, outputs.report)
    _account(report)


def _answers(folder: Path, who: dict[str, Any], texts: list[str]) -> NDArray[np.str_]:
    """Return the champion's answers; refuse an artifact that is not the version that champion.json names."""
    champion = Classifier.load(folder / "artifact", folder / "calibration.json")
    if champion.version != who.get("model_version"):
        raise EvidenceError(
            f"{folder} holds model {champion.version}, but its champion.json names {who.get('model_version')}; "
            "place artifact, calibration.json and champion.json of one version there, or take all three away"
        )
    answers: NDArray[np.str_] = np.array(champion.labels)[champion.scores(texts).logits.argmax(axis=1)]
    return answers


def _figures(params: Params, bout: Bout, test: pd.DataFrame) -> dict[str, Any]:
    rules = params.gate.rules
    parts = compared(
        bout,
        is_new(test, params.challenge.since),
        terms={"new": _terms(params, rules.no_worse), "old": _terms(params, rules.remembers), "all": _terms(params, None)},
    )
    slices = sliced(
        bout,
        slices_of(test, length_bins=params.evaluate.length_bins),
        terms=_terms(params, None),
        min_rows=params.challenge.min_slice_rows,
    )
    return {**parts, "slices": slices, "worst_slice": worst_slice(slices)}


def _terms(params: Params, rule: MaxLoss | None) -> Terms:
    knobs = params.challenge
    return Terms(resamples=knobs.resamples, level=knobs.level, seed=knobs.seed, margin=rule.max_loss if rule else None)


def _account(report: dict[str, Any]) -> None:
    who = report["champion"]
    say(f"champion {who.get('version')} ({who['model_version']}) against {report['model_version']}, in accuracy")
    for name in ("new", "old", "all"):
        if found := report[name]:
            say(f"{name + ' rows':9} {found['rows']:>7,}: {found['champion']['value']:.3f} -> {found['challenger']['value']:.3f}, "
                f"difference {shown(found['difference'])}, {counted(found['wins'], 'win')}, {found['losses']:,} lost, "
                f"exact McNemar p {found['mcnemar_p']:.3g}")  # fmt: skip
    if power := report["new"]["power"]:
        say(power["words"])


if __name__ == "__main__":
    main(challenge)
