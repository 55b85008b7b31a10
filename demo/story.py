"""The story itself: chapter by chapter, what happens and what is shown of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.padding import Padding
from rich.text import Text

from demo.caller import Caller
from demo.customers import GROUPS, Message, Sent, Service, read, windows
from demo.outcome import compared
from demo.prefect_api import Prefect
from demo.project import Project
from demo.record import Record
from demo.show import Screen
from evergreen.processes import start
from evergreen.release.ledger import Entry

LATER = ("2025-09_to_2025-10.csv", "2025-11_to_2025-12.csv")
DAYS = 14
LATE = 1  # windows after which the right teams are known
SECONDS_TO_COME_UP = 240
SECONDS_TO_TRAIN = 1800
SECONDS_TO_LOOK = 300
SECONDS_TO_ANSWER = 60
SECONDS_TO_BEGIN = 60  # from an alert to the run that it starts


class Story:
    """One play of the demo: the running `evergreen up`, what was sent, and how much of it is labelled."""

    def __init__(self, project: Project, screen: Screen) -> None:
        self.project, self.screen, self.record = project, screen, Record(project.home)
        self.up: subprocess.Popen[str] | None = None
        self.prefect: Prefect | None = None
        self.sent: list[list[Sent]] = []
        self.labelled = 0
        self.asked_until: float | None = None  # when the customer who asked during the retraining had the last answer
        self.held: Entry | None = None  # the candidate that the gate held back

    def play(self, *, stay: bool) -> None:
        """Play all chapters; with `stay`, keep everything running until Ctrl-C."""
        with self.screen.chapter("Everything comes up with one command"):
            self._bring_up()
        parts = windows(read(self.project.root / "examples" / "inbox" / name for name in LATER), DAYS)
        with self.screen.chapter("A first version, trained on January to August, goes live"):
            first = self._first_version()
        with self.screen.chapter("Two weeks at a time, the world changes"):
            retraining, rest = self._until_retraining(parts)
        with self.screen.chapter("The alert has started a retraining"):
            second = self._retrained(retraining, first)
        with self.screen.chapter("Later messages: one version answers, the other judges them unseen"):
            later = self._later(rest, first)
        with self.screen.chapter("Was it worth it?"):
            self._outcome(later, first, second)
        self._places(second if self.held is None else first)
        if stay:
            self.screen.say("All of it still runs. Look around; Ctrl-C ends it.", "bold")
            assert self.up is not None
            self.up.wait()

    def end(self) -> None:
        """End what the demo has started."""
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGINT)
            self.up.wait()

    # Chapters

    def _bring_up(self) -> None:
        self.project.make()
        self.screen.say(f"a clone of this project, with a state of its own: {self.project.root}")
        command = [sys.executable, "-m", "flows", "up", "--prefect-port", "0", "--port", "0", "--poll", "1"]
        log = self.project.home / "logs" / "up.log"
        log.parent.mkdir(parents=True)
        with log.open("wb") as output:
            self.up = start(command, self.project.environment, self.project.root, output=output)
        with self.screen.waiting("evergreen up"):
            self._until(lambda: (self.project.home / "up.json").exists(), SECONDS_TO_COME_UP, "evergreen up has not come up", log)
        self.prefect = Prefect(json.loads((self.project.home / "up.json").read_text(encoding="utf-8"))["api"])
        self.screen.say(
            f"evergreen up  ->  Prefect on {self.prefect.api.removesuffix('/api')}, its worker, and the service as soon as there is a model"
        )

    def _first_version(self) -> str:
        run = self._prefect().start("retrain/retrain", {"person": "the demo", "reason": "the first version"})
        self._watched(run, "training", SECONDS_TO_TRAIN)
        version = self._live_other_than(None)
        self.screen.say(f"model {version} has passed the gate and answers on {self._address()}")
        return version

    def _until_retraining(self, parts: list[list[Message]]) -> tuple[str, list[list[Message]]]:
        """Replay windows until an alert has started a retraining; return its run and the windows that are left."""
        for place, part in enumerate(parts):
            asked = time.time()
            if self._window(part) == "retrain":
                run = self._prefect().newest("retrain/retrain", asked - 1, SECONDS_TO_BEGIN)
                if run is None:
                    raise SystemExit("the alert has started no retraining; see `evergreen status` in the demo's project")
                self.screen.say("the alert is on record; Prefect's automation has started the retraining, nobody had to", "bold yellow")
                return run, parts[place + 1 :]
        raise SystemExit("no retraining was decided on; the decisions above say why")

    def _retrained(self, run: str, first: str) -> str:
        """Wait for the retraining; return the version it made. Where the gate held it back, `first` stays live."""
        with Caller(self._address(), [item.message for part in self.sent for item in part]) as caller:
            ended = self._watched(run, "retraining", SECONDS_TO_TRAIN)
            version = self._live_other_than(first) if ended["state_name"] == "Promote" else first
            self._until(lambda: caller.last == version, SECONDS_TO_ANSWER, f"nobody is answered by {version}", None)
        self.asked_until = caller.ended
        self.screen.say(caller.words())
        if version != first:
            self.screen.say(f"model {version} has won against {first} on the same rows, and answers since")
            return version
        self.held = self.record.candidate(self.project.root)
        self.screen.say(
            f"{first} stays live; a person may decide otherwise: evergreen promote {self.held.model_version} --who … --why …", "yellow"
        )
        return str(self.held.model_version)

    def _later(self, parts: list[list[Message]], first: str) -> list[Sent]:
        other = first if self.held is None else str(self.project.bring("build/bento", self.held.commit or ""))
        self.screen.say(self.project.evergreen("shadow", other).splitlines()[-1].strip(), "dim")
        before = len(self.sent)
        for place, part in enumerate(parts):
            self._window(part, since=None if place else self.asked_until)  # the customer of the retraining is not of the traffic
        return [item for part in self.sent[before:] for item in part]

    def _outcome(self, later: Sequence[Sent], first: str, second: str) -> None:
        self._label(len(self.sent))
        answered = {item.request_id: item.prediction for item in later}
        old, new = (self.record.unseen(first), answered) if self.held is None else (answered, self.record.unseen(second))
        titles = ("n", first[:8], second[:8], "gain", "95% interval", "McNemar p")
        table = self.screen.table(("messages", "left"), *((title, "right") for title in titles))
        power = None
        for name, found in compared(later, old, new, GROUPS):
            gain = found["difference"]
            accuracies = (f"{found[who]['value']:.3f}" for who in ("champion", "challenger"))
            interval = f"{gain['low']:+.3f} … {gain['high']:+.3f}"
            table.add_row(name, str(found["rows"]), *accuracies, f"{gain['value']:+.3f}", interval, f"{found['mcnemar_p']:.3f}")
            power = power or found["power"]
        self.screen.console.print(Padding(table, (0, 0, 1, 2)))
        if power:
            self.screen.say(str(power["words"]), "dim")

    def _places(self, live: str) -> None:
        root, home = self.project.root, self.project.home
        places = (
            (
                "what happened when",
                f"cd {root} && export EVERGREEN_HOME={home}",
                "then: evergreen ledger show, evergreen versions, evergreen monitor show",
            ),
            ("windows, drift, quality", str(home / "monitor" / "index.html"), "open it in a browser"),
            ("Prefect's pages", self._prefect().api.removesuffix("/api"), "runs, their steps and artifacts, while `evergreen up` runs"),
            ("the dossier", f"{self._address()}/card", f"of {live}"),
            ("versions in git", "git log --graph --decorate evergreen/models", "each pins data, code, parameters and outputs"),
            ("rebuild one", "evergreen reproduce v1.0.0", "from its record, and compare every hash"),
            ("a second turn", 'evergreen retrain --force --why "the labels of winter"', "with all labels told by now; about 6 minutes"),
        )
        self.screen.console.print()
        for name, place, words in places:
            line = Text.assemble(f"  {name:<24}", place, (f"  {words}", "dim"))
            self.screen.console.print(line, soft_wrap=True)
        self.screen.console.print()
        total = time.monotonic() - self.screen.begun
        self.screen.say(f"All of it took {total // 60:.0f} min {total % 60:.0f} s.", "bold green")

    # Steps

    def _window(self, part: Sequence[Message], *, since: float | None = None) -> str:
        """Send two weeks of messages, tell the teams of earlier ones, let the monitor look; return what was decided.

        The monitor looks at what was answered since its last look, or since another time.
        """
        service = Service(self._address())
        days = f"{part[0].day:%d %b} – {part[-1].day:%d %b}"
        with self.screen.counting(days, len(part)) as one:
            self.sent.append(service.send(part, one))
        self._label(len(self.sent) - LATE)
        run = self._prefect().start("monitor/monitor", {} if since is None else {"since": since})
        with self.screen.waiting(f"{days}: the monitor looks") as show:
            ended = self._prefect().watch(run, show, SECONDS_TO_LOOK)
        if ended["state_type"] != "COMPLETED":
            raise SystemExit(f"the monitor's run ended as {ended['state_name']}: {(ended['state'] or {}).get('message')}")
        facts, decision = self.record.last()
        self._show_window(days, len(part), facts, decision)
        return decision.action if decision else "nothing"

    def _show_window(self, days: str, rows: int, facts: dict[str, Any] | None, decision: Any) -> None:
        if facts is None or decision is None:
            self.screen.say(f"{days}  {rows:>4} messages  too few to judge")
            return
        drift, estimate, quality = facts["drift"], facts["estimate"], facts["quality"]
        alarm = "DRIFT" if drift["alarm"] else "quiet"
        chance = f"{alarm}  p = {drift['p_value']:.2g}" if drift["p_value"] is not None else f"not tested: {drift['note']}"
        guess = f"estimated accuracy {estimate['accuracy']['value']:.3f}" if estimate else ""
        told = f"measured {quality['accuracy']['value']:.3f} on {quality['rows']} labels" if quality else "no labels yet"
        self.screen.say(f"{days}  {rows:>4} messages  {chance}  {guess}, {told}", "yellow" if drift["alarm"] else "")
        self.screen.say(f"{decision.action}: {decision.because}", "dim", indent=20)

    def _label(self, until: int) -> None:
        """Tell the right teams of the messages of all windows before `until`."""
        for part in self.sent[self.labelled : max(until, 0)]:
            Service(self._address()).label(part)
            self.labelled += 1

    def _watched(self, run: str, words: str, seconds: float) -> dict[str, Any]:
        with self.screen.waiting(words) as show:
            ended = self._prefect().watch(run, show, seconds)
        if ended["state_type"] != "COMPLETED":
            raise SystemExit(f"{words} ended as {ended['state_name']}: {(ended['state'] or {}).get('message')}")
        if message := (ended["state"] or {}).get("message"):
            self.screen.say(message)
        return ended

    def _live_other_than(self, version: str | None) -> str:
        found: list[str] = []

        def there() -> bool:
            status = self._status()
            if status["answering"] and status["address"] and status["version"] and status["version"] != version:
                found.append(status["version"])
            return bool(found)

        with self.screen.waiting("the service"):
            self._until(there, SECONDS_TO_COME_UP, "no new version went live; the gate may have held it back: `evergreen versions`", None)
        return found[0]

    def _address(self) -> str:
        return str(self._status()["address"])

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.project.evergreen("status", "--json"))
        return found

    def _prefect(self) -> Prefect:
        assert self.prefect is not None
        return self.prefect

    def _until(self, happens: Any, seconds: float, otherwise: str, log: Any) -> None:
        deadline = time.monotonic() + seconds
        while not happens():
            ended = self.up is not None and self.up.poll() is not None
            if ended or time.monotonic() > deadline:
                said = f"\n{log.read_text(encoding='utf-8')[-2000:]}" if log and os.path.exists(log) else ""
                raise SystemExit(f"{otherwise}{said}")
            time.sleep(0.5)
