import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.monitoring.log.lines import DamagedLine, UnknownLine, from_line, to_line
from tests.log_factories import answered, labelled

anything = st.text(st.characters(exclude_categories=()), max_size=200)  # half surrogate pairs and NUL included


@given(text=anything, name=anything)
def test_a_row_is_one_line_and_comes_back_the_same(text: str, name: str) -> None:
    for row in (answered(text, groups={name: text}), labelled("f" * 32, text)):
        line = to_line(row)
        assert line.count(b"\n") == 1 and line.endswith(b"\n")
        assert from_line(line) == row


@given(place=st.integers(0, 200), flip=st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, flip: int) -> None:
    line = bytearray(to_line(answered("secret words")).rstrip(b"\n"))
    line[place] ^= flip
    with pytest.raises(DamagedLine) as caught:
        from_line(bytes(line) + b"\n")
    assert "secret" not in str(caught.value)


def test_zeros_that_a_power_cut_left_do_not_cost_the_line_behind_them() -> None:
    row = answered()
    assert from_line(b"\0" * 100 + to_line(row)) == row


def test_a_row_of_another_version_is_no_damage() -> None:
    from zlib import crc32

    body = b'{"answered":{"novelty":1}}'
    with pytest.raises(UnknownLine):
        from_line(b"%08x %s\n" % (crc32(body), body))
