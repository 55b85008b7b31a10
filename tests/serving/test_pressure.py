"""What holds when there is too much of everything: texts, bytes, time."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.api.app import DEPTH, parts_of
from serving.api.json_bounds import TooMuch, check
from serving.api.pressure import Admission, Memory, deadline
from serving.api.rate import Rate
from serving.api.refusals import Gone, Refusal
from tests.serving_factories import LIMITS, FakeMetrics, FakeModel, FakeModels, Service, service

BODY = b'{"text": "card"}'


class Caller:
    """One request over ASGI: `leave` closes the connection, `answer` gives the status that came back, or None."""

    def __init__(self, made: Service, body: bytes = BODY) -> None:
        self.left, self.sent = asyncio.Event(), []
        self.coming = [{"type": "http.request", "body": body, "more_body": False}]
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        place = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 6)}
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers, "scheme": "http", **place}
        self.task = asyncio.get_running_loop().create_task(made.app(scope, self.receive, self.send))

    async def receive(self) -> dict:
        if self.coming:
            return self.coming.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.left.set()

    async def answer(self) -> int | None:
        await asyncio.wait_for(self.task, 30)
        return self.sent[0]["status"] if self.sent else None


class Gate:
    """A model that waits until it is let go; `entered` says that it is at work."""

    def __init__(self) -> None:
        self.open, self.entered, self.cancelled = asyncio.Event(), asyncio.Event(), False

    async def __call__(self) -> None:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def run(case: Callable, keys: Path, **given: object) -> None:
    """Run a case with a service whose model waits at a gate."""

    async def inside() -> None:
        gate = Gate()
        await case(service(keys / "keys.json", models=FakeModels(FakeModel(wait=gate)), **given), gate)

    asyncio.run(inside())


def test_a_caller_who_leaves_ends_the_work_and_frees_the_queue(tmp_path: Path) -> None:
    async def case(made: Service, gate: Gate) -> None:
        caller = Caller(made)
        await gate.entered.wait()
        assert made.admission.texts == 1
        caller.leave()
        assert await caller.answer() is None
        assert (gate.cancelled, made.admission.texts, made.recorder.rows) == (True, 0, [])
        assert made.metrics.named("request")[-1][:2] == ["/predict", 499]

    run(case, tmp_path)


def test_a_request_beyond_its_deadline_is_given_up_and_frees_the_queue(tmp_path: Path) -> None:
    async def case(made: Service, gate: Gate) -> None:
        assert await Caller(made).answer() == 504
        assert (gate.cancelled, made.admission.texts) == (True, 0)

    run(case, tmp_path, limits=LIMITS.model_copy(update={"timeout": 1}))


def test_a_full_queue_refuses_at_once_and_takes_again_when_it_empties(tmp_path: Path) -> None:
    async def case(made: Service, gate: Gate) -> None:
        held = [Caller(made) for _ in range(3)]
        await gate.entered.wait()
        assert [await Caller(made).answer() for _ in range(20)] == [429] * 20
        gate.open.set()
        assert [await caller.answer() for caller in held] == [200] * 3
        assert await Caller(made).answer() == 200
        assert [name for (name,) in made.metrics.named("refused")] == ["queue"] * 20

    run(case, tmp_path, queue=3)


def test_a_request_larger_than_the_queue_passes_when_nothing_else_waits() -> None:
    admission = Admission(2, FakeMetrics())
    with admission.claim(5), pytest.raises(Refusal), admission.claim(1):
        pass
    assert admission.texts == 0


def test_retry_after_follows_the_pace_of_the_last_seconds() -> None:
    clock = iter([0.0, *[5.0] * 10])
    admission = Admission(100, FakeMetrics(), clock=lambda: next(clock))
    for _ in range(10):
        with admission.claim(10):
            pass
    with admission.claim(100), pytest.raises(Refusal) as refused:
        admission.check()
    assert dict(refused.value.headers) == {b"retry-after": b"3"}  # 51 texts at 20 a second


def test_all_bodies_together_stay_within_the_memory() -> None:
    memory = Memory(10)
    memory.hold(5, "a")
    memory.hold(2, "b")
    with pytest.raises(Refusal):
        memory.hold(4, "c")
    memory.free(5, "a")
    memory.hold(4, "c")


def test_one_caller_cannot_take_the_memory_of_all_others() -> None:
    memory = Memory(10)
    memory.hold(5, "a")
    with pytest.raises(Refusal):
        memory.hold(1, "a")
    memory.hold(5, "b")
    memory.free(5, "a")
    memory.hold(5, "a")


def test_a_timeout_of_the_work_itself_is_not_taken_for_the_deadline() -> None:
    async def never() -> dict:
        return await asyncio.Future()

    async def case() -> None:
        async with deadline(60, never):
            raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="own"):
        asyncio.run(case())


def test_leaving_is_noticed_only_while_there_is_work() -> None:
    async def gone() -> dict:
        return {"type": "http.disconnect"}

    async def case() -> None:
        async with deadline(60, gone):
            await asyncio.sleep(30)

    with pytest.raises(Gone):
        asyncio.run(case())


def test_a_bucket_refills_at_its_rate_and_no_further_than_its_burst() -> None:
    now = [0.0]
    rate = Rate(2.0, 10, clock=lambda: now[0])
    rate.take("a", 10)
    rate.take("b", 1)  # a bucket for each key
    with pytest.raises(Refusal) as refused:
        rate.check("a")
    assert dict(refused.value.headers) == {b"retry-after": b"1"}
    now[0] = 3.0
    rate.take("a", 6)
    with pytest.raises(Refusal):
        rate.take("a", 1)
    now[0] = 1000.0
    rate.take("a", 10)
    with pytest.raises(Refusal) as refused:
        rate.take("a", 9)
    assert dict(refused.value.headers) == {b"retry-after": b"5"}


def test_a_request_larger_than_the_burst_passes_on_credit() -> None:
    now = [0.0]
    rate = Rate(1.0, 5, clock=lambda: now[0])
    rate.take("a", 20)
    now[0] = 14.0
    with pytest.raises(Refusal):
        rate.check("a")
    now[0] = 16.0
    rate.take("a", 1)


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        (b'{"text": "a,b,[c],{d}:e"}', True),
        (rb'{"text": "a\",\",\",\",\",\",\",\",\",\",\",\""}', True),
        (b'{"text": "' + b'\\"' * 100_000 + b'"}', True),
        (b'{"texts": ["a", "b", "c", "d", "e"]}', True),
        (b"[" + b"1," * 20, False),
        (b'"' + b"{" * 50, True),  # one string without end: broken, but small
        (b'"",' * 20, False),
        (b"[[[]]]", True),
        (b"[[[[]]]]", False),
        (b'["[[[[[[[["]', True),
        (b"][" * 9, True),
        (b"1 " * 21, False),
        (b"", True),
    ],
)
def test_structure_is_counted_without_being_built(body: bytes, passes: bool) -> None:
    if passes:
        check(body, parts=20, depth=3)
    else:
        with pytest.raises(TooMuch):
            check(body, parts=20, depth=3)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\,:{}[] \n'), min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)


@settings(deadline=None, database=None, derandomize=True)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    groups=st.dictionaries(NAMES, TEXTS, max_size=16),
    ascii=st.booleans(),
    indent=st.booleans(),
)
def test_no_request_within_the_limits_is_too_much(texts: list[str], groups: dict[str, str], ascii: bool, indent: bool) -> None:
    written = json.dumps({"texts": texts, "groups": groups}, ensure_ascii=ascii, indent=2 if indent else None)
    check(written.encode(), parts=parts_of(LIMITS), depth=DEPTH)
