"""Whose turn it is before the model, and who shares a run."""

import random

from serving.model.batching import Line, Waiting


def texts(owner: str, *lengths: int) -> list[Waiting[str]]:
    return [Waiting(owner, place, f"{owner}{place}", [0] * length) for place, length in enumerate(lengths)]


def taken(line: Line[str], idle: int = 0) -> list[str]:
    return [text.text for text in line.take(idle)]


def test_single_texts_are_taken_in_the_order_they_came() -> None:
    line = Line[str](alone=True)
    for owner in "abc":
        line.add(texts(owner, 10))
    assert [taken(line) for _ in range(4)] == [["a0"], ["b0"], ["c0"], []]


def test_texts_of_like_length_share_a_run_and_a_long_one_does_not_pad_the_short_ones() -> None:
    line = Line[str](alone=False)
    for owner, length in (("a", 10), ("b", 100), ("c", 12), ("d", 9)):
        line.add(texts(owner, length))
    assert taken(line) == ["a0", "c0", "d0"]
    assert taken(line) == ["b0"]


def test_a_run_keeps_to_the_budget_with_its_padding() -> None:
    line = Line[str](alone=False, budget=100)
    line.add(texts("a", *[18, 22, 20, 24, 19, 21, 23, 18, 22]))
    while batch := line.take():
        assert len(batch) == 1 or len(batch) * max(len(text.tokens) for text in batch) <= 100


def test_a_text_beyond_the_budget_runs_alone() -> None:
    line = Line[str](alone=False, budget=100)
    line.add(texts("a", 256, 256))
    assert taken(line) == ["a0"]
    assert taken(line) == ["a1"]


def test_idle_threads_get_their_share() -> None:
    line = Line[str](alone=False)
    for owner in "abcd":
        line.add(texts(owner, 10))
    assert taken(line, idle=1) == ["a0", "b0"]
    assert taken(line) == ["c0", "d0"]


def test_texts_that_must_be_alone_never_share() -> None:
    line = Line[str](alone=True)
    line.add(texts("a", 10, 10, 10))
    assert [len(line.take()) for _ in range(3)] == [1, 1, 1]


def test_a_long_list_does_not_keep_a_single_text_waiting() -> None:
    line = Line[str](alone=True)
    line.add(texts("list", *[100] * 50))
    taken(line)
    line.add(texts("single", 10))
    assert "single0" in [name for _ in range(2) for name in taken(line)]


def test_single_texts_do_not_keep_a_list_from_its_share() -> None:
    line = Line[str](alone=True)
    line.add(texts("list", *[10] * 20))
    served = []
    for number in range(60):
        line.add(texts(f"single{number}-", 10))
        served += taken(line)
    assert sum(name.startswith("list") for name in served) == 20


def test_every_text_is_taken_once_whatever_comes_when() -> None:
    chance, line, out = random.Random(3), Line[str](alone=False), []
    added = 0
    for number in range(300):
        lengths = [chance.randint(3, 300) for _ in range(chance.choice([1, 1, 1, 12]))]
        line.add(texts(f"r{number}-", *lengths))
        added += len(lengths)
        out += taken(line, idle=chance.randint(0, 3))
    while len(line):
        out += taken(line)
    assert len(out) == len(set(out)) == added


def test_the_texts_of_who_has_gone_are_forgotten() -> None:
    line = Line[str](alone=False)
    line.add(texts("a", 10, 90))
    line.add(texts("b", 10))
    line.drop("a")
    assert len(line) == 1
    assert taken(line) == ["b0"]
