"""`make demo`: a model goes live, the world changes, and the loop keeps the model fresh. Figures of a run: docs/demo.md."""

import argparse
import signal
import sys
from pathlib import Path

from demo.project import Project
from demo.show import Screen
from demo.story import Story

FOLDER = Path(".evergreen") / "demo"


def main() -> None:
    """Play the story; end all that it has started."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="The whole loop on the embedded example, in about ten minutes.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the demo's project and state lie (default {FOLDER}); made anew")
    parser.add_argument("--stay", action="store_true", help="keep everything running at the end until Ctrl-C")
    given = parser.parse_args()
    source = Path.cwd()
    if not (source / ".git").exists():
        raise SystemExit(f"{source} is no git repository; the demo works on a clone of one")
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal, a service manager: the same end as Ctrl-C
        signal.signal(number, _end)
    story = Story(Project(given.folder.resolve(), source), Screen())
    try:
        story.play(stay=given.stay or (sys.stdin.isatty() and sys.stdout.isatty()))
    except KeyboardInterrupt:
        story.screen.say("ended on request", "yellow")
    finally:
        story.end()


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
