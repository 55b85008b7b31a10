"""The live service while it is changed and struck: swaps, rollbacks and kills under load, counted on both sides.

    python -m benchmarks.changes [--checkout FOLDER] [--rounds N] [--requests N] [--blows N]

Callers with standing connections and callers with a new connection for each request ask without a pause, with the test
texts of a checkout in which the pipeline has run. What they were answered is compared with what the request log holds. Where
PostgreSQL is installed, the log lies there and is killed too; else it is SQLite, which has no process to kill.
"""

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

from benchmarks._packaged import Packaged, packaged
from benchmarks._page import Figures, machine, publish
from tests.postgresql import Server, programs
from tests.serving.load import Callers, Tally
from tests.serving.running import Running, running

KEEPING, FRESH = 8, 4
CALM = 300  # requests answered between two blows
SETTINGS = "texts_per_second: 1000000"


def main() -> None:
    """Measure and publish."""
    given = _parse()
    on = machine()
    with tempfile.TemporaryDirectory(prefix="evergreen-changes-") as name:
        bench = Path(name)
        champion, other = (packaged(given.checkout, precision, bench) for precision in ("fp32", "int8"))
        with _database(bench) as (database, url):
            changes = asyncio.run(_changes(champion, other, bench / "one", url, given.rounds, given.requests))
            blows = asyncio.run(_blows(champion, bench / "two", database, url, given.blows))
    publish(
        "changes",
        title="The live service, changed and struck under load",
        command="python -m benchmarks.changes",
        on=on,
        tables=[*changes, *blows],
        notes=NOTES,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkout", type=Path, default=Path(), help="where the pipeline has run (default: here)")
    parser.add_argument("--rounds", type=int, default=20, help="swaps, and as many rollbacks")
    parser.add_argument("--requests", type=int, default=20_000, help="at least, while versions change")
    parser.add_argument("--blows", type=int, default=10, help="kills of each process")
    return parser.parse_args()


@contextmanager
def _database(bench: Path) -> Iterator[tuple[Server | None, str | None]]:
    place = programs()
    if place is None:
        yield None, None
        return
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = Server(place, Path(folder))
        server.start()
        try:
            yield server, server.fresh()
        finally:
            server.stop()


@contextmanager
def _service(model: Packaged, home: Path, url: str | None) -> Iterator[Running]:
    home.mkdir()
    settings = Path("params.yaml").read_text(encoding="utf-8")
    (home / "params.yaml").write_text(settings.replace("texts_per_second: 200", SETTINGS), encoding="utf-8")
    with running(home, str(model.bento), "--port", "0", **({"EVERGREEN_LOG_URL": url} if url else {})) as service:
        yield service


async def _changes(champion: Packaged, other: Packaged, home: Path, url: str | None, rounds: int, requests: int) -> list[Figures]:
    swaps, rollbacks = [], []
    with _service(champion, home, url) as service:
        async with Callers(service.port, keeping=KEEPING, fresh=FRESH, texts=champion.texts) as callers:
            for turn in range(1, rounds + 1):
                swaps.append(await _timed(service, "swap", bento=str(other.bento)))
                await callers.until(lambda tally, to=(2 * turn - 1) / (2 * rounds): tally.answered >= requests * to, 3600)
                rollbacks.append(await _timed(service, "rollback"))
                await callers.until(lambda tally, to=turn / rounds: tally.answered >= requests * to, 3600)
        tally = callers.tally
        service.end()
    return [
        Figures(
            f"{rounds} swaps and {rounds} rollbacks, {KEEPING} standing connections and {FRESH} callers with fresh ones",
            ("answered", "failed", "versions", "first swap s", "later swaps s", "rollbacks s", "longest silence s"),
            [
                [
                    f"{tally.answered:,}",
                    str(tally.failures.total()),
                    str(len(tally.versions)),
                    f"{swaps[0]:.2f}",
                    f"{statistics.median(swaps[1:] or swaps):.2f}",
                    f"{statistics.median(rollbacks):.2f}",
                    f"{tally.longest_gap:.2f}",
                ]
            ],
            words=(),
        ),
        _both_sides("After the changes", tally, home, url),
    ]


async def _timed(service: Running, command: str, **told: str) -> float:
    begun = time.monotonic()
    await asyncio.to_thread(service.ask, command, **told)
    return time.monotonic() - begun


async def _blows(champion: Packaged, home: Path, database: Server | None, url: str | None, blows: int) -> list[Figures]:
    rows = []
    total = Tally()
    with _service(champion, home, url) as service:
        for of in ("worker", "front", "supervisor", *(["database"] if database else [])):
            gaps, failed = [], Counter[str]()
            for _ in range(blows):
                async with Callers(service.port, keeping=KEEPING, fresh=FRESH, texts=champion.texts) as callers:
                    await callers.until(lambda tally: tally.answered >= CALM)
                    callers.tally.longest_gap = 0.0
                    await asyncio.to_thread(_strike, service, of, database)
                    to = callers.tally.answered + CALM
                    await callers.until(lambda tally, to=to: tally.answered >= to)
                    if of == "database" and database:
                        database.start()
                gaps.append(callers.tally.longest_gap)
                failed += callers.tally.failures
                total.ids += callers.tally.ids
                total.failures += callers.tally.failures
            words = ", ".join(f"{number} {name}" for name, number in failed.most_common()) or "none"
            rows.append([of, str(blows), f"{statistics.median(gaps):.2f}", f"{max(gaps):.2f}", str(failed.total()), words])
        service.end()
    return [
        Figures(
            f"kill -9 under load, {KEEPING + FRESH} callers",
            ("killed", "times", "silence s", "longest s", "cut", "how"),
            rows,
            words=(0, 5),
        ),
        _both_sides("After the kills", total, home, url),
    ]


def _strike(service: Running, of: str, database: Server | None) -> None:
    if of == "database" and database:
        database.kill()
    elif of == "supervisor":  # and with it everything else, as a power cut would; a service manager starts it again
        service.kill()
        service.start("--port", str(service.port))
    else:
        live = service.ask("live")
        os.kill(service.pids("front" if of == "front" else live["champion"])[0], signal.SIGKILL)


def _both_sides(heading: str, tally: Tally, home: Path, url: str | None) -> Figures:
    """Compare what callers were answered with what is on record, whatever else the database holds."""
    engine = sqlalchemy.create_engine(url or f"sqlite:///{home / 'traffic.sqlite'}")
    with engine.connect() as log:
        recorded = Counter(log.execute(sqlalchemy.text("SELECT request_id FROM answers WHERE role = 'champion'")).scalars())
    engine.dispose()
    missing = len(set(tally.ids) - recorded.keys())
    return Figures(
        f"{heading}: what callers got, and what the request log holds ({'PostgreSQL' if url else 'SQLite'})",
        ("answers that callers got", "missing in the log", "doubled in the log"),
        [[f"{len(tally.ids):,}", str(missing), str(sum(number > 1 for number in recorded.values()))]],
        words=(),
    )


NOTES = (
    "Silence: the longest time in which none of the callers was answered, the kill in it.",
    "Requests cut: a front that is killed takes the answers with it that it was writing.",
    "The supervisor's kill takes everything down, as a power cut would; it is started again at once, which is a service manager's work.",
    "A later swap finds the version warm or kept; the first one copies, verifies and starts it.",
)


if __name__ == "__main__":
    main()
