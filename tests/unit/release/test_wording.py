import pytest

from evergreen.release import wording


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (wording.number(12345), "12,345"),
        (wording.number(-0.0561), "−0.056"),
        (wording.number(None), "–"),
        (wording.percent(0.8594), "85.9\u202f%"),
        (wording.both({"value": 0.5, "low": 0.4, "high": 0.6}), "0.500 (0.400 to 0.600)"),
        (wording.both(None), "–"),
        (wording.point({"value": None}), "–"),
        (wording.size(91_234_567), "91.2 MB"),
        (wording.size(999), "999 B"),
        (wording.duration(59.94), "59.9 s"),
        (wording.duration(260), "4 min 20 s"),
        (wording.duration(3_660), "1 h 1 min"),
        (wording.plain(None), "null"),
        (wording.plain([True, "a"]), "true, a"),
        (wording.plain([]), "[]"),
    ],
)
def test_a_figure_reads_as_a_person_writes_it(said: str, text: str) -> None:
    assert said == text
