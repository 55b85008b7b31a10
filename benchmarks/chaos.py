"""The loop under `evergreen up` while its processes are killed at random moments: what was lost, what ran twice, how long it took.

    python -m benchmarks.chaos [--rounds N] [--log FILE] [--beside N] [--lease SECONDS] [--minutes N] [--seed N]

In each round an alert comes in (the monitor's, and half the time one from outside too), then one of monitor, Prefect's worker, Prefect's
server and the retraining, or worker and retraining together, is killed with SIGKILL, and the next round begins when every alert is
answered and nothing runs. A caller asks the service all the while. Monitor and retraining are the stand-ins of tests/system/standins: the
real look, alert, claim, lease, worktree, branch and ledger, with stages that only write for a second or two. `--beside` loops run at
once, each a project of its own. With `--log` each round is kept as a line of JSON, and a run goes on where an earlier one has ended.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks._page import Figures, machine, publish
from tests.system.chaos import TARGETS, Told, loop

BOUND = 120  # seconds within which a slot must be free and a run be marked


def main() -> None:
    """Measure and publish."""
    given = _parse()
    on = machine()
    done = _read(given.log)
    targets = _targets(given.rounds, Counter(one.target for one in done), random.Random(given.seed + len(done)))
    parts = [targets[place :: given.beside] for place in range(given.beside)]
    with tempfile.TemporaryDirectory(prefix="evergreen-chaos-") as name, ThreadPoolExecutor(given.beside) as pool:
        works = [
            pool.submit(_rounds, Path(name) / str(place), part, random.Random(given.seed + len(done) + place), given)
            for place, part in enumerate(parts)
        ]
        told = done + [one for work in works for one in work.result()]
    options = "".join(f" --{option} {getattr(given, option):g}" for option in ("rounds", "beside", "lease"))
    publish(
        "chaos",
        title="The loop, killed at random moments",
        command=f"python -m benchmarks.chaos{options}",
        on=on,
        tables=[_kept(told), _times(told)],
        notes=[*(f"{one.target} after {one.moment:.1f} s: {fault}" for one in told for fault in one.faults), *NOTES],
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--log", type=Path, help="file of rounds, one a line, that this run adds to")
    parser.add_argument("--beside", type=int, default=1, help="loops at once")
    parser.add_argument("--lease", type=float, default=90, help="seconds of policy.lease_seconds")
    parser.add_argument("--minutes", type=float, default=600, help="after which no round is begun")
    parser.add_argument("--seed", type=int, default=17)
    return parser.parse_args()


def _read(log: Path | None) -> list[Told]:
    """Return the rounds of earlier runs."""
    if log is None or not log.exists():
        return []
    return [Told(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]


def _targets(rounds: int, done: Counter[str], chance: random.Random) -> list[str]:
    """Return what is still to be killed, so that in the end each target has had its share, in an order by chance."""
    shares = {target: rounds // len(TARGETS) + (place < rounds % len(TARGETS)) for place, target in enumerate(TARGETS)}
    left = [target for target, share in shares.items() for _ in range(share - done[target])]
    chance.shuffle(left)
    return left[: max(rounds - done.total(), 0)]


def _rounds(folder: Path, targets: Sequence[str], chance: random.Random, given: argparse.Namespace) -> list[Told]:
    if not targets:
        return []
    time.sleep(30 * int(folder.name))  # two that come up at once keep each other waiting
    folder.mkdir()
    found: list[Told] = []
    end = time.monotonic() + 60 * given.minutes
    while len(found) < len(targets) and time.monotonic() < end:
        with loop(folder / str(len(found)), lease=given.lease) as running:
            for target in targets[len(found) :]:
                if time.monotonic() > end:
                    break
                found.append(running.round(target, chance))
                print(f"{len(found)} of {len(targets)}: {found[-1]}", flush=True)
                _keep(given.log, found[-1])
                if found[-1].stuck:  # the next one begins with another loop
                    break
    return found


def _keep(log: Path | None, told: Told) -> None:
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(told)) + "\n")


def _kept(told: Sequence[Told]) -> Figures:
    """Return what was kept, by what was killed; a round with a fault is named below the tables."""
    rows = []
    for target, some in (*((target, [one for one in told if one.target == target]) for target in TARGETS), ("all", list(told))):
        faults = Counter(fault for one in some for fault in one.faults)
        asked, failed = sum(one.requests for one in some), sum(one.failed for one in some)
        rows.append((target, str(len(some)), str(sum(not one.faults for one in some)), str(faults.total()), f"{asked:,}", str(failed)))
    return Figures("What was kept", ("killed", "rounds", "without a fault", "faults", "requests", "not answered"), rows)


def _times(told: Sequence[Told]) -> Figures:
    """Return how long it took from the kill on."""
    rows = []
    for target in TARGETS:
        some = [one for one in told if one.target == target]
        states = ", ".join(sorted({one.state for one in some if one.state})) or "-"
        freed, marked, rest = ([getattr(one, name) for one in some] for name in ("slot_freed", "marked", "at_rest"))
        rows.append((target, _span(freed), _span(marked), states, _span(rest)))
    columns = ("killed", "slot free", "run marked", "as", "every alert answered")
    return Figures("Seconds from the kill, median (most)", columns, rows, words=(0, 3))


def _span(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.0f} ({max(known):.0f})" if known else "-"


NOTES = [
    "Monitor and retraining are stand-ins (tests/system/standins): records, alert, claim, lease, worktree, branch and ledger are the real "
    "ones, the window's facts are made up, and stages only write for a second; every verdict is HOLD. Releases killed at random moments "
    "have a test of their own, tests/system/test_release_kills.py.",
    "A round is without a fault when every alert was answered by a retraining that finished, no stage found another writer at work, the "
    "branch holds one commit for each finished retraining and no other, no retraining failed, every request was answered, and a killed "
    f"retraining's slot was free and its run marked within {BOUND} s. The slot is free a lease and at most one round of the sweep after "
    "the kill; the default lease is 90 s.",
]

if __name__ == "__main__":
    main()
