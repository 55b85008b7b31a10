"""The command line: `evergreen init`, `train`, `summary`, and the commands of the running service."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from evergreen.disk import check_room, full_words, is_full
from evergreen.errors import EvergreenError
from flows.commands import alerts, compare, deploy, keys, ledger, policy, promote, service, signing, status, traffic, up, watching
from flows.commands import reproduce as reproduce_page
from flows.commands import retrain as retrain_now
from flows.commands.screen import screen

OWN = {"evergreen", "flows"}


def main(arguments: list[str] | None = None) -> None:
    """Run a command; on an EvergreenError or a full disk print a message alone and exit with status 1."""
    try:
        given = _parser().parse_args(arguments)
        given.run(given)
    except EvergreenError as error:
        _stop(str(error))
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in OWN:
            raise
        print(
            f"This command needs {missing.name}, which serving alone does not install: pip install -c constraints.txt '.[train]'",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not is_full(error):
            raise
        _stop(full_words(error))


def _stop(message: str) -> NoReturn:
    Console(stderr=True).print(Text(message, style="red"), soft_wrap=True)
    sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evergreen", description="Keeps fine-tuned classifiers fresh.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_init(commands.add_parser("init", help="look at your own data and write params.yaml for it"))
    train = commands.add_parser("train", help="run what has changed of the pipeline, from raw data to the Bento, as one flow")
    train.add_argument("--force", action="store_true", help="also run stages that nothing has changed for")
    train.set_defaults(run=_train)
    summary = commands.add_parser("summary", help="show the present model's metrics and verdict")
    summary.set_defaults(run=_summary)
    up.add_commands(commands)
    status.add_commands(commands)
    watching.add_commands(commands)
    deploy.add_commands(commands)
    service.add_commands(commands)
    keys.add_commands(commands)
    signing.add_commands(commands)
    ledger.add_commands(commands)
    promote.add_commands(commands)
    compare.add_commands(commands)
    alerts.add_commands(commands)
    policy.add_commands(commands)
    retrain_now.add_commands(commands)
    reproduce_page.add_commands(commands)
    traffic.add_commands(commands)
    return parser


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, TSV, JSON lines or Parquet file, or a folder of them")
    parser.add_argument("--text", required=True, metavar="COL", help="column with the text to classify")
    parser.add_argument("--label", required=True, metavar="COL", help="column with the class")
    parser.add_argument(
        "--group", action="append", default=[], metavar="COL", help="column whose groups must be treated alike; may be repeated"
    )
    parser.add_argument(
        "--context", action="append", default=[], metavar="COL", help="column that says how a text came, watched for drift; may be repeated"
    )
    parser.add_argument("--time", metavar="COL", help="column with the date of each row")
    parser.add_argument("--id", metavar="COL", help="column with a unique id; without it, ids come from the content")
    parser.add_argument("--customer", metavar="COL", help="column with who wrote it; one customer's rows stay in one split")
    parser.add_argument("--split", metavar="COL", help="column that says train / validation / calibration / test")
    parser.set_defaults(run=_init)


def _init(given: argparse.Namespace) -> None:
    # Imported here and below, not above: each command pays for its own libraries alone.
    from flows.commands import init

    init.run(given)


def _train(given: argparse.Namespace) -> None:
    from flows.bridge import pipeline
    from flows.bridge.healing import heal
    from flows.commands.summary import show_summary

    console, root = screen(), Path.cwd()
    heal(root, say=console.print)
    plan = pipeline.read_pipeline(root)
    if not given.force and not pipeline.changed(root):
        console.print(
            Text(f"All {len(plan.order)} stages are up to date: nothing in code, data or params.yaml has changed.", style="green")
        )
    else:
        _run_flow(root, console, force=given.force)
    show_summary(root, plan, console)


def _run_flow(root: Path, console: Console, *, force: bool) -> None:
    console.print(Text("Starting a flow run …", style="dim"))
    from flows import HOME

    # Before the import of Prefect, which makes its home when it is imported, but not the folder around it.
    HOME.mkdir(parents=True, exist_ok=True)
    for folder in (root, HOME):
        check_room(folder)
    from flows.bridge.pipeline import environment
    from flows.bridge.session import session
    from flows.running import own_server

    ready = own_server.begin(root)
    with session(root, environment(root)):  # it starts while Prefect is imported and its server comes up
        from flows.commands.terminal import stages_shown
        from flows.train import train

        ready()
        with stages_shown(console):
            train(root, force=force)


def _summary(given: argparse.Namespace) -> None:
    from flows.bridge import pipeline
    from flows.commands.summary import show_summary

    root = Path.cwd()
    show_summary(root, pipeline.read_pipeline(root), screen())


if __name__ == "__main__":
    main()
