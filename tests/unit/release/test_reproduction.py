"""What a rebuilt version is compared by, and in which words."""

from evergreen.release.reproduction import Comparison, compared, differing

RECORDED = {"a.json": ("one", "11"), "b.json": ("one", "22"), "runs/one.json": ("one", "33"), "c": ("two", "44.dir")}


def comparison(rebuilt: dict[str, str], **tuple_: tuple[object, object]) -> Comparison:
    rows = compared(RECORDED, rebuilt, measured={"runs/one.json"})
    return Comparison("v1.0.0", "abc", "f" * 40, rows, dict(tuple_), [])


def test_equal_hashes_are_equal_and_measured_times_are_called_so() -> None:
    done = comparison({"a.json": "11", "b.json": "22", "runs/one.json": "99", "c": "44.dir"})
    assert [row.outcome for row in done.rows] == ["equal", "equal", "measured", "equal"]
    assert done.equal
    assert done.words() == "v1.0.0 is rebuilt bit for bit: 3 outputs are equal; 1 hold measured times, which were taken from the record"


def test_one_other_hash_or_none_is_named_with_its_stage() -> None:
    done = comparison({"a.json": "11", "b.json": "00", "runs/one.json": "33"})
    assert [row.outcome for row in done.rows] == ["equal", "differs", "measured", "missing"]
    assert not done.equal
    assert done.words() == (
        "v1.0.0 is NOT what was recorded: 2 of 4 outputs differ, the first of them b.json (one); the recorded tuple is the same here"
    )


def test_another_machine_is_named_and_another_input_is_not_called_a_machine() -> None:
    other = differing(
        {"isa": "AVX512", "threads": 2, "fingerprint": "x", "data_sha256": "1"},
        {"isa": "AVX2", "threads": 2, "fingerprint": "y", "gpu": "H200"},
    )
    assert other == {"isa": ("AVX512", "AVX2"), "data_sha256": ("1", None), "gpu": (None, "H200")}
    done = comparison({}, **other)
    assert set(done.machine) == {"isa", "gpu"}
    assert done.words().endswith("; this is another machine than the one it was made on")
