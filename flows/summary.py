"""The end of `evergreen train`: what the model is worth, the verdict, where things are, what to do next."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.reports import read_report
from flows.pipeline import Pipeline

COLOURS = {"PROMOTE": "bold green", "HOLD": "bold yellow", "REJECT": "bold red"}
MARKS = {"pass": ("✓", "green"), "fail": ("✗", "red"), "missing": ("?", "red"), "off": ("–", "dim")}


def show_summary(root: Path, pipeline: Pipeline, console: Console) -> None:
    """Print the summary of the pipeline's present outputs; raise EvidenceError when a report is missing."""
    metrics = read_report(root / pipeline.output("evaluate", "metrics"))
    verdict = read_report(root / pipeline.output("gate", "verdict"))
    console.print()
    console.print(Text(f"What the model is worth, on {metrics['rows']:,} messages it has never seen", style="bold"))
    console.print(Padding(_metrics(metrics), (0, 0, 0, 2)))
    console.print()
    console.print(Text.assemble(("Verdict  ", "bold"), (verdict["verdict"], COLOURS[verdict["verdict"]]), f"  {verdict['summary']}"))
    console.print(Padding(_rules(verdict["rules"]), (0, 0, 0, 2)))
    console.print()
    console.print(Padding(_places(pipeline), (0, 0, 0, 2)))
    console.print()


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("", "left"), ("model", "right"), ("95% interval", "left"), ("TF-IDF", "right"), ("lead, interval", "left")):
        table.add_column(name, justify=justify)
    for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        lead = metrics["lead"][key]
        table.add_row(title, f"{metrics[key]['value']:.3f}", _range(metrics[key]), f"{metrics['baseline'][key]['value']:.3f}",
                      f"{lead['value']:+.3f}  {_range(lead, '+.3f')}")  # fmt: skip
    for key, title in (("log_loss", "log loss"), ("ece", "calibration error")):
        table.add_row(title, f"{metrics[key]['value']:.3f}", _range(metrics[key]), "", "")
    answered = metrics["answered"]
    table.add_row(
        "answers alone", f"{answered['coverage']['value']:.0%}", f"of messages, {answered['accuracy']['value']:.1%} of them right", "", ""
    )
    return table


def _range(interval: dict[str, float], form: str = ".3f") -> str:
    return f"{interval['low']:{form}} … {interval['high']:{form}}"


def _rules(rules: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for rule in rules:
        mark, colour = MARKS[rule["outcome"]]
        table.add_row(Text(mark, style=colour), rule["title"], Text(rule["because"], style="dim"))
    return table


def _places(pipeline: Pipeline) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("dossier", str(pipeline.output("document", "dossier")), Text("open it in a browser", style="dim"))
    table.add_row("model card", str(pipeline.output("document", "card")), "")
    table.add_row("Bento", str(pipeline.output("package", "bento")), Text("make serve", style="dim"))
    table.add_row("next", "git add dvc.lock reports/metrics.json && git commit", Text("keep this version", style="dim"))
    return table
