"""Every report -> the model card, the dossier and the provenance record, from artifacts alone."""

from types import SimpleNamespace

import yaml

from evergreen.config import Params
from evergreen.release.card import model_card
from evergreen.release.dossier import dossier
from evergreen.release.provenance import git_state, provenance, read_runs
from evergreen.release.wording import duration
from evergreen.reports import read_report, write_report
from stages._run import PARAMS, main, say

REPORTS = (
    *("quality", "cleaning", "split", "training", "compression", "latency", "calibration"),
    *("evaluation", "audit", "drift", "challenge", "verdict"),
)
# What the pipeline itself writes into the checkout while it runs: no sign of a change by a person.
WRITTEN = ("dvc.lock", "reports", "plots")
# What writes the record once more: git's state is no dependency, so `dvc repro` alone would find nothing to do.
AGAIN = "dvc repro --single-item --force document && dvc repro package"


def document(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Write down what is known of the model."""
    reports = {name: read_report(getattr(inputs, name)) for name in REPORTS}
    knobs = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    origin = provenance(
        raw=inputs.raw,
        code=git_state(PARAMS.resolve().parent, ignoring=WRITTEN),
        params=knobs,
        constraints=inputs.constraints.read_text(encoding="utf-8"),
        training=reports["training"],
        artifact=read_report(inputs.artifact / "artifact.json"),
        runs=read_runs(inputs.runs),
    )
    write_report(origin, outputs.provenance)
    outputs.card.write_text(model_card(reports, params=knobs, provenance=origin), encoding="utf-8")
    outputs.dossier.write_text(dossier(reports, params=knobs, provenance=origin), encoding="utf-8")
    cost, verdict = origin["cost"], reports["verdict"]
    say(f"card and dossier of {params.document.name} {verdict['model_version']}: {verdict['verdict']}")
    say(f"{duration(cost['seconds'])} in {len(cost['stages'])} stages, about {cost['energy_watt_hours']:.1f} Wh (estimated)")
    if origin["code"]["dirty"]:
        say("the code has changes that are not committed; for a record that others can follow, commit them and then run")
        say(f"  {AGAIN}")


if __name__ == "__main__":
    main(document)
