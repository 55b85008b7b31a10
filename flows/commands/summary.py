"""The end of `evergreen train`: what the model is worth, the verdict, where things are, what to do next."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.reports import read_report
from flows.bridge.pipeline import Pipeline

COLOURS = {"PROMOTE": "bold green", "HOLD": "bold yellow", "REJECT": "bold red"}
MARKS = {"pass": ("✓", "green"), "fail": ("✗", "red"), "missing": ("?", "red"), "off": ("–", "dim")}


def show_summary(root: Path, pipeline: Pipeline, console: Console) -> None:
    """Print the summary of the pipeline's present outputs; raise EvidenceError when a report is missing."""
    metrics = read_report(root / pipeline.output("evaluate", "metrics"))
    verdict = read_report(root / pipeline.output("gate", "verdict"))
    challenge = read_report(root / pipeline.output("challenge", "report"))
    console.print()
    console.print(Text(f"What the model is worth, on {metrics['rows']:,} texts it has never seen", style="bold"))
    console.print(Padding(_metrics(metrics), (0, 0, 0, 2)))
    if challenge["champion"]:
        console.print()
        console.print(Text(f"Against the champion {challenge['champion'].get('version') or ''}, on the same texts", style="bold"))
        console.print(Padding(_challenge(challenge), (0, 0, 0, 2)))
    console.print()
    word, _, reason = verdict["summary"].partition(": ")
    console.print(Text.assemble(("Verdict  ", "bold"), (word, COLOURS[verdict["verdict"]]), f"  {reason}"))
    console.print(Padding(_rules(verdict["rules"]), (0, 0, 0, 2)))
    console.print()
    console.print(Padding(_places(pipeline), (0, 0, 0, 2)))
    console.print()


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("model", "interval", "TF-IDF", "lead", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        lead = metrics["lead"][key]
        table.add_row(title, f"{metrics[key]['value']:.3f}", _range(metrics[key]), f"{metrics['baseline'][key]['value']:.3f}",
                      f"{lead['value']:+.3f}", _range(lead, "+.3f"))  # fmt: skip
    for key, title in (("log_loss", "log loss"), ("ece", "calibration error")):
        table.add_row(title, f"{metrics[key]['value']:.3f}", _range(metrics[key]))
    answered = metrics["answered"]
    table.add_row("answers by itself", f"{answered['coverage']['value']:.0%}", _range(answered["coverage"], ".0%"))
    if answered["accuracy"]:
        table.add_row("  right when it does", f"{answered['accuracy']['value']:.1%}", _range(answered["accuracy"], ".1%"))
    return table


def _challenge(challenge: dict[str, Any]) -> Table:
    """Return champion and challenger on the rows that came since the champion, on older ones, and on all."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("accuracy on", "rows", "champion", "this model", "difference", "interval"):
        table.add_column(name, justify="left" if name == "accuracy on" else "right", no_wrap=True)
    for name, title in (("new", "new texts"), ("old", "old texts"), ("all", "all of them")):
        if found := challenge[name]:
            difference = found["difference"]
            table.add_row(title, f"{found['rows']:,}", f"{found['champion']['value']:.3f}", f"{found['challenger']['value']:.3f}",
                          f"{difference['value']:+.3f}", _range(difference, "+.3f"))  # fmt: skip
    return table


def _range(interval: dict[str, float], form: str = ".3f") -> str:
    return f"{interval['low']:{form}} … {interval['high']:{form}}"


def _rules(rules: list[dict[str, Any]]) -> Table:
    """Return a line per rule; a rule that does not hold says why."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for rule in rules:
        mark, colour = MARKS[rule["outcome"]]
        why = rule["because"] if rule["outcome"] in {"fail", "missing"} else ""
        table.add_row(Text(mark, style=colour), Text(rule["title"]), Text(why))
    return table


def _places(pipeline: Pipeline) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    metrics = pipeline.output("evaluate", "metrics")
    rows = (
        ("dossier", pipeline.output("document", "dossier"), "open it in a browser"),
        ("model card", pipeline.output("document", "card"), "goes with the model to the Hub"),
        ("Evidently", pipeline.output("snapshot", "page"), "classification, drift, fairness"),
        ("Bento", pipeline.output("package", "bento"), "what is deployed"),
    )
    for title, path, note in rows:
        table.add_row(title, str(path), Text(note, style="dim"))
    table.add_row()
    table.add_row("next", "make serve", Text("answer requests with this model", style="dim"))
    table.add_row("", f"git add params.yaml dvc.lock {metrics} && git commit", Text("keep this version", style="dim"))
    table.add_row("", "evergreen init FILE --text COL --label COL", Text("your own data", style="dim"))
    return table
