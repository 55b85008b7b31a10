"""The model card: Markdown with the Hugging Face hub's metadata block, written from reports alone.

The block follows https://huggingface.co/docs/hub/model-cards (`model-index` holds the metrics); the text follows Mitchell et al.,
Model Cards for Model Reporting, 2019.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from evergreen.release.wording import ABSENT, both, duration, number, percent, point, span, without_verdict

Report = Mapping[str, Any]
METRICS = (
    ("accuracy", "accuracy", "Accuracy"),
    ("macro_f1", "f1", "Macro F1"),
    ("log_loss", "log_loss", "Log loss"),
    ("ece", "ece", "Calibration error"),
)


def model_card(reports: Mapping[str, Report], *, params: Report, provenance: Report) -> str:
    """Return the card. `reports` by name, as for the dossier; the same arguments give the same text."""
    head = yaml.safe_dump(metadata(reports, params=params), sort_keys=False, allow_unicode=True, width=1000)
    sections = [
        _title(reports, params),
        _uses(reports, params),
        _results(reports),
        *_champion(reports["challenge"]),
        _groups(reports["audit"]),
        _data(reports, params),
        _training(reports["training"], reports["challenge"], provenance),
        _provenance(reports["training"], provenance),
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(sections) + "\n"


def metadata(reports: Mapping[str, Report], *, params: Report) -> dict[str, Any]:
    """Return the hub's metadata block as a mapping."""
    about, evaluation = params["document"], reports["evaluation"]
    dataset = PurePath(params["ingest"]["source"]).name
    block = {
        "license": about["licence"].lower(),
        "language": [about["language"]],
        "library_name": "onnxruntime",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "onnx", "bentoml", "evergreen"],
        "base_model": _base_model(reports["training"]["backbone"], params),
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": about["name"], "results": [_result(evaluation["metrics"], dataset, about["title"])]}],
    }
    return {name: value for name, value in block.items() if value is not None}


def _base_model(backbone: Report, params: Report) -> str | None:
    """Return the backbone's id on the hub; a local folder has none."""
    return backbone["source"] if params["finetune"]["backbone"]["revision"] else None


def _result(metrics: Report, dataset: str, title: str) -> dict[str, Any]:
    found = [{"type": kind, "name": name, "value": metrics[key]["value"]} for key, kind, name in METRICS if metrics.get(key)]
    return {
        "task": {"type": "text-classification", "name": title},
        "dataset": {"type": dataset, "name": dataset, "split": "test"},
        "metrics": found,
    }


def _title(reports: Mapping[str, Report], params: Report) -> str:
    about, verdict = params["document"], reports["verdict"]
    return (
        f"# {_line(about['title'])}\n\n{_line(about['purpose'])}\n\n"
        f"**{verdict['verdict']}** · `{about['name']}` version `{verdict['model_version']}`. {_line(without_verdict(verdict))}"
    )


def _uses(reports: Mapping[str, Report], params: Report) -> str:
    about, calibration = params["document"], reports["calibration"]
    labels = ", ".join(f"`{label}`" for label in reports["evaluation"]["labels"])
    return (
        f"## Uses and limits\n\n{_line(about['limits'])}\n\n"
        f"It answers with one of {len(reports['evaluation']['labels'])} labels ({labels}) and its confidence. "
        f"Below a confidence of {number(float(calibration['threshold']))} the message is one for a person. Owner: {_line(about['owner'])}."
    )


def _results(reports: Mapping[str, Report]) -> str:
    evaluation = reports["evaluation"]
    metrics, baseline = evaluation["metrics"], evaluation["metrics"]["baseline"]
    rows = [[name, point(metrics[key]), span(metrics[key]), both(baseline.get(key))] for key, _, name in METRICS if metrics.get(key)]
    answered, lead = metrics["answered"], metrics["lead"]["macro_f1"]
    return (
        f"## Results\n\nOn {number(evaluation['rows'])} test messages, with {percent(evaluation['level'], 0)} bootstrap intervals. "
        f"The baseline is TF-IDF with logistic regression on the same training rows; the model leads it by {both(lead)} in macro F1.\n\n"
        + _table(["Metric", "Value", "Interval", "Baseline"], rows)
        + f"\n\nIt answers {both(answered['coverage'])} of the messages by itself, {both(answered['accuracy'])} of them rightly.\n\n"
        + _table(
            ["Label", "Test rows", "Precision", "Recall", "F1"],
            [
                [row["label"], number(row["rows"]), point(row["precision"]), point(row["recall"]), point(row["f1"])]
                for row in evaluation["classes"]
            ],
        )
    )


def _champion(challenge: Report) -> list[str]:
    """Return what became of the comparison with the version before; nothing for a first version."""
    if not challenge.get("champion"):
        return []
    who = challenge["champion"]
    names = [name for name in ("new", "old", "all") if challenge[name]]
    rows = [
        [name, number(found["rows"]), both(found["champion"]), both(found["challenger"]), both(found["difference"])]
        for name, found in ((name, challenge[name]) for name in names)
    ]
    power = challenge["new"].get("power") or {}
    return [
        f"## Against the champion\n\nCompared with version {_line(str(who.get('version') or ABSENT))} (`{who['model_version']}`) "
        f"on the same test messages, by accuracy, with {percent(challenge['level'], 0)} paired intervals. {power.get('words', '')}\n\n"
        + _table(["Test rows", "Number", "Champion", "This model", "Difference"], rows)
    ]


def _groups(audit: Report) -> str:
    if not audit["columns"]:
        return f"## Groups of people\n\nNothing was audited: {_line(str(audit.get('reason') or 'the data names no groups'))}."
    rows = [
        [column["name"], group["group"], number(group["rows"]), both(group["accuracy"]) if group["accuracy"] else "too few rows"]
        for column in audit["columns"]
        for group in column["groups"]
    ]
    return "## Groups of people\n\n" + _table(["Column", "Group", "Test rows", "Accuracy"], rows)


def _data(reports: Mapping[str, Report], params: Report) -> str:
    quality, cleaning = reports["quality"], reports["cleaning"]
    masked = ", ".join(f"{number(found['found'])} {kind}" for kind, found in cleaning["masked"].items()) or "nothing"
    parts = ", ".join(f"{name} {number(part['rows'])}" for name, part in reports["split"]["splits"].items())
    dated = f", dated {quality['from']} to {quality['to']}" if quality.get("from") and quality.get("to") else ""
    return (
        f"## Data\n\n{number(quality['rows'])} messages from `{params['ingest']['source']}`{dated}; "
        f"{number(cleaning['rows_out'])} after cleaning. "
        f"Masked: {masked}. Rows of the splits: {parts}."
    )


def _training(training: Report, challenge: Report, provenance: Report) -> str:
    cost = provenance["cost"]
    energy = number(float(cost["energy_watt_hours"]), 1)
    start = f"`{training['backbone']['source']}`"
    if training["start"]:
        start = f"the weights of {(challenge['champion'] or {}).get('version') or 'an earlier model'}, which goes back to {start}"
    averaged = f"the weights of {training['members']} trainings averaged, in all " if training["members"] > 1 else ""
    return (
        f"## Training\n\nStarted from {start}; {averaged}{training['epochs_run']} epochs on {number(training['rows'])} rows, "
        f"{training['precision']} on {training['device']}, {training['threads']} threads, seed {training['seed']}. "
        f"All stages together took {duration(cost['seconds'])} and about {energy} Wh ({cost['energy_is']})."
    )


def _provenance(training: Report, provenance: Report) -> str:
    code = provenance["code"]
    commit = f"`{code['commit']}`{' (with uncommitted changes)' if code['dirty'] else ''}" if code["commit"] else ABSENT
    rows = [
        ["Raw data, sha256", f"`{provenance['data_sha256']}`"],
        ["Commit", commit],
        ["Trained weights, sha256", f"`{training.get('weights_sha256') or ABSENT}`"],
        ["Backbone weights, sha256", f"`{training['backbone'].get('sha256') or ABSENT}`"],
        ["Dependencies, sha256", f"`{provenance['dependencies']['sha256']}`"],
        ["torch", provenance["torch"] or ABSENT],
        ["Machine", provenance["hardware"]["processor"] or ABSENT],
    ]
    return "## Provenance\n\n" + _table(["What", "Value"], rows) + "\n\nThe dossier beside this card tells the rest."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return _line(str(value)).replace("|", "\\|")


def _line(text: str) -> str:
    """Return a text on one line, its angle brackets escaped: a card is rendered as HTML."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
