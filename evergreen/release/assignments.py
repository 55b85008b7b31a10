"""Whether the tags that say what is live (`model#prod#3`) are those that the ledger tells of.

A line that tells what went live follows a tag on the same commit, numbered and dated after the tag before it; none is made for what the
tags say already. Lines and numbers are paired in their order so that as few tags as possible are wrong.
Knows nothing of git, of signatures, or of what is live.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from evergreen.release.plumbing import Tag

if TYPE_CHECKING:
    from evergreen.release.ledger import Entry

NUMBER = re.compile("[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class _Told:
    """What went live by a line of the ledger, or (`entry` is None) by one still to be written; `needed` where it must have a tag."""

    commit: str
    entry: "Entry | None"
    needed: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A number, and the tag that has it, if any; `prior` where that was made before the ledger was begun."""

    number: int
    tag: Tag | None = None
    prior: bool = False


_Sound = list[tuple[Tag, "Entry"]]


def assignment_faults(
    lived: "Sequence[Entry]", tags: Sequence[Tag], *, stem: str, begun: float = inf, untold: str | None = None
) -> list[str]:
    """Return each tag that was moved, forged or removed, or whose date misleads, with what puts it right.

    `lived` are the lines that tell of a commit that went live, `tags` all that look like assignments, `stem` is how those begin
    (`model#prod`), `begun` the moment of the ledger's first line (since 1970). `untold` is a commit that is live, and its line not written.
    """
    told = _told(lived, untold)
    numbered = {int(number): tag for tag in tags if NUMBER.fullmatch(number := tag.name.removeprefix(f"{stem}#"))}
    faults: list[str] = []
    sound: _Sound = []
    for line, place in _paired(told, list(_places(numbered, len(told), begun))):
        name, tag, entry = f"{stem}#{place.number}", place.tag, line.entry if line else None
        if entry is None:
            honest = tag is None or place.prior or (line is not None and line.commit == tag.commit)
            faults += [] if honest else [_forged(name)]
        elif tag is not None and tag.commit == entry.commit and tag.annotated:
            sound.append((tag, entry))
        else:
            faults.append(f"tag {name}: {_wrong(tag, entry)}; {_put_back(name, entry, sound)}")
    others = [_forged(tag.name) for tag in tags if tag not in numbered.values()]
    return [*faults, *_date_faults(sound), *others]


def _told(lived: "Sequence[Entry]", untold: str | None) -> list[_Told]:
    told: list[_Told] = []
    for entry in lived:
        assert entry.commit is not None
        told.append(_Told(entry.commit, entry, needed=not told or told[-1].commit != entry.commit))
    return [*told, _Told(untold, None, needed=False)] if untold else told


def _places(numbered: dict[int, Tag], most: int, begun: float) -> Iterator[_Place]:
    """Yield the numbers in their order: those of tags, and free ones between and after them, as many as lines could have had."""
    before, early = 0, True
    for number, tag in sorted(numbered.items()):
        yield from map(_Place, range(before + 1, min(number, before + 1 + most)))
        early = early and tag.annotated and tag.time < begun
        yield _Place(number, tag, prior=early)
        before = number
    yield from map(_Place, range(before + 1, before + 1 + most))


def _paired(told: Sequence[_Told], places: Sequence[_Place]) -> list[tuple[_Told | None, _Place]]:
    """Return each number with the line that it belongs to, if any: the alignment with the fewest faults."""
    cost = [[inf] * (len(places) + 1) for _ in range(len(told) + 1)]
    cost[0][0] = 0
    for line in range(len(told) + 1):
        for place in range(len(places) + 1):
            cost[line][place] = min((step[0] for step in _steps(cost, told, places, line, place)), default=cost[line][place])
    pairs: list[tuple[_Told | None, _Place]] = []
    line, place = len(told), len(places)
    while line or place:
        _, lines, numbers = min(_steps(cost, told, places, line, place), key=lambda step: step[0])
        line, place = line - lines, place - numbers
        if numbers:
            pairs.append((told[line] if lines else None, places[place]))
    return pairs[::-1]


def _steps(
    cost: Sequence[Sequence[float]], told: Sequence[_Told], places: Sequence[_Place], line: int, place: int
) -> Iterator[tuple[float, int, int]]:
    """Yield the last steps to a point of the alignment, the likelier of two equals first: faults so far, lines and numbers taken."""
    if place:
        free = places[place - 1].tag is None or (places[place - 1].prior and line == 0)
        yield cost[line][place - 1] + (0 if free else 1), 0, 1
    if line and place:
        yield cost[line - 1][place - 1] + _price(told[line - 1], places[place - 1]), 1, 1
    if line and not told[line - 1].needed:
        yield cost[line - 1][place], 1, 0


def _price(told: _Told, place: _Place) -> int:
    """Return 0 where a tag is that of a line, 1 where it may have been or is gone, more where two faults are likelier than that."""
    if place.tag is not None and place.tag.commit == told.commit:
        return 0
    return 1 if told.needed and not place.prior else 2


def _date_faults(sound: _Sound) -> list[str]:
    """Return tags that are not dated in the order of their numbers: of two, the one whose date is farther from its line's."""
    faults = {}
    for before, after in pairwise(sound):
        if after[0].time <= before[0].time:
            tag, entry = max(before, after, key=lambda one: abs(one[0].time - one[1].moment))
            earlier = sound[: sound.index((tag, entry))]
            said = f"{before[0].name} is not dated before {after[0].name}, and DVC goes by the dates"
            faults[tag.name] = f"tag {tag.name}: {said}; {_put_back(tag.name, entry, earlier)}"
    return list(faults.values())


def _wrong(tag: Tag | None, entry: "Entry") -> str:
    said = f"line {entry.number} says that {entry.version or 'a version'} went live"
    if tag is None:
        return f"it is gone, but {said}"
    if tag.commit != entry.commit:
        return f"it points to {tag.commit[:12]}, but {said}, which is {(entry.commit or '')[:12]}"
    return f"it is a bare name, which DVC does not see, but {said}"


def _put_back(name: str, entry: "Entry", before: _Sound) -> str:
    """Return the command that makes a tag anew, dated in its turn: DVC takes the latest date for what is live."""
    seconds = max(int(entry.moment), before[-1][0].time + 1 if before else 0)
    date = datetime.fromtimestamp(seconds, UTC).isoformat()
    return f"to put it back: GIT_COMMITTER_DATE={date} git tag -f -a -m 'put back' {name} {entry.commit}"


def _forged(name: str) -> str:
    return f"tag {name}: no line of the ledger tells of it; unless a run elsewhere is about to, take it away: git tag -d {name}"
