"""Tags that say what is live, against the lines that tell of it: histories that are honest, and each with one thing changed."""

import random
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from evergreen.release.assignments import assignment_faults
from evergreen.release.ledger import Entry
from evergreen.release.plumbing import Tag

STEM, BEGUN = "model#prod", 1_000_000.0


def tag(number: int, commit: str, time: float) -> Tag:
    return Tag(f"{STEM}#{number}", commit, f"object of {number}", int(time), "")


def line(number: int, commit: str, time: float) -> Entry:
    written = f"2026-11-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return Entry(number, written, "promotion", f"v1.{commit}.0", commit, commit, "Ada", "so", {"since": time}, "", None, None)


@dataclass
class History:
    """What a registry does when versions go live: a tag where the newest does not say so already, and then a line."""

    tags: list[Tag] = field(default_factory=list)
    lines: list[Entry] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    time: float = BEGUN

    def assign(self, commit: str) -> None:
        self.time += 10
        if not self.tags or self.tags[-1].commit != commit:
            self.tags.append(tag(next(self.numbers), commit, self.time))

    def goes_live(self, commit: str) -> None:
        self.assign(commit)
        self.lines.append(line(len(self.lines) + 1, commit, self.time))

    def faults(self, untold: str | None = None) -> list[str]:
        """Return the names of the tags that are wrong."""
        found = assignment_faults(self.lines, self.tags, stem=STEM, begun=BEGUN, untold=untold)
        return [fault.partition(": ")[0].removeprefix("tag ") for fault in found]


def honest(seed: int, *, lines: int = 12, other_stages: bool = True) -> History:
    """A history of few commits, so that many lines look alike, with versions told of twice and numbers given to other stages."""
    chance, made = random.Random(seed), History()
    for _ in range(lines):
        made.goes_live(chance.choice("abc"))
        if other_stages and chance.random() < 0.2:
            next(made.numbers)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_an_honest_history_is_sound_told_to_its_end_or_not(seed: int) -> None:
    made = honest(seed)
    assert made.faults() == []
    live = made.lines[-1].commit
    assert made.faults(untold=live) == []  # told once more, without a tag
    assert made.faults(untold="new") == []  # killed before its tag
    made.assign("new")
    assert made.faults(untold="new") == []  # killed after it
    assert made.faults() == [made.tags[-1].name]
    assert made.faults(untold=live) == [made.tags[-1].name]


@pytest.mark.parametrize("seed", range(20))
def test_tags_from_before_the_ledger_was_begun_are_no_fault(seed: int) -> None:
    chance, made = random.Random(seed), History(time=BEGUN - 1000)
    for _ in range(4):
        made.assign(chance.choice("abc"))
    assert made.faults() == []
    made.lines.append(line(1, made.tags[-1].commit, BEGUN))  # what was live then, found
    made.time = BEGUN
    assert made.faults() == []
    for commit in chance.choices("abc", k=6):
        made.goes_live(commit)
    assert made.faults() == []
    made.tags.insert(4, replace(made.tags[-1], name=f"{STEM}#999", time=int(BEGUN - 500)))  # dated as if it were one of them
    assert made.faults() == [f"{STEM}#999"]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("other_stages", [False, True])
def test_one_tag_that_was_moved_forged_or_removed_is_found_and_named_where_no_other_stage_has_numbers(
    seed: int, other_stages: bool
) -> None:
    chance, moved = random.Random(seed), honest(seed, other_stages=other_stages)
    place = chance.randrange(len(moved.tags))
    one = moved.tags[place]
    forged, removed = replace(moved, tags=[*moved.tags]), replace(moved, tags=[*moved.tags])
    moved.tags[place] = replace(one, commit=chance.choice([*({*"abc"} - {one.commit}), "new"]))
    assert len(moved.faults()) == 1
    assert other_stages or moved.faults() == [one.name]
    other = chance.choice([*({*"abc"} - {forged.tags[-1].commit}), "new"])  # one more of the same would change nothing
    forged.tags.append(tag(next(forged.numbers), other, forged.time + 100))
    assert forged.faults() == [forged.tags[-1].name]
    del removed.tags[place]
    assert len(removed.faults()) == 1
    assert other_stages or place == len(removed.tags) or removed.faults() == [one.name]


def test_without_a_ledger_nothing_is_said_of_well_formed_tags() -> None:
    assert assignment_faults([], [tag(1, "a", BEGUN)], stem=STEM) == []
