"""A process that does its work in rounds until it is asked to end: `evergreen up` keeps such, and a cluster's desk does.

A round that fails is told once and tried again. Knows nothing of what a round does.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from evergreen.errors import EvergreenError
from flows.running.components import Ending

Say = Callable[[str], None]
Round = Callable[[Say], None]


def rounds(program: str, made: Callable[[Path], Round], *, every: float) -> None:
    """Do rounds for the project that `--root` names; `made` gives what a round does there."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--every", type=float, default=every, metavar="SECONDS", help=f"between two rounds (default {every:g})")
    given = parser.parse_args()
    ending, attend, said = Ending(), made(given.root.resolve()), ""
    while True:
        try:
            attend(_logged)
            said = ""
        except EvergreenError as fault:
            if str(fault) != said:
                _logged(said := str(fault))
        if ending.within(given.every):
            return


def _logged(words: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}", flush=True)
