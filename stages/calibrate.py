"""calibrate: the shipping artifact on the calibration split -> temperature, and the threshold below which a person answers."""

from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.evaluation.calibration import calibrate as fit
from evergreen.evaluation.metrics import label_codes
from evergreen.model.inference import Calibration, Classifier
from evergreen.reports import write_report
from stages._run import main, say

UNCALIBRATED = Calibration(temperature=1.0, threshold=0.0)


def calibrate(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Fit temperature and threshold on rows that neither training nor early stopping has seen."""
    knobs = params.calibrate
    table = read_table(inputs.splits / "calibration.parquet", ["text", "label"])
    classifier = Classifier(inputs.artifact, UNCALIBRATED)
    logits = classifier.scores(table["text"].tolist()).logits
    temperature, chosen, report = fit(
        logits,
        label_codes(table["label"].tolist(), classifier.labels),
        bins=knobs.bins,
        target_accuracy=knobs.target_accuracy,
        min_coverage=knobs.min_coverage,
    )
    write_report({"temperature": temperature, "threshold": chosen.threshold}, outputs.calibration)
    write_report(report, outputs.report)
    say(f"temperature {temperature:.3f} on {len(table):,} rows: calibration error {report['ece_before']:.3f} -> {report['ece_after']:.3f}")
    share, right = f"{chosen.coverage:.0%}", f"{chosen.accuracy:.1%}"
    say(f"answers by itself from confidence {chosen.threshold:.3f} on: {share} of the texts, {right} of them right")
    if not report["reached"]:
        say(f"no threshold with enough coverage reaches {knobs.target_accuracy:.0%}; this one comes nearest")


if __name__ == "__main__":
    main(calibrate)
