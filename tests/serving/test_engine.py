"""A model in this process, on the tiny artifact."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evergreen.model.inference import Classifier
from serving.model.backend import NotReady, UnusableText
from serving.model.engine import NICE, Engine
from tests.factories import examples
from tests.worker_factories import bento

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bento(tmp_path / "src")


@pytest.fixture
def engine(root: Path) -> Iterator[Engine]:
    engine = Engine(root, threads=2)
    yield engine
    engine.close()


class Gate:
    """Stands before the model: runs wait until it opens, and say what they hold."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.runs, self._run = threading.Event(), [], engine._classifier.run
        self.entered = threading.Semaphore(0)
        monkeypatch.setattr(engine._classifier, "run", self)

    def __call__(self, tokens):
        self.runs.append(len(tokens))
        self.entered.release()
        assert self.open.wait(60)
        return self._run(tokens)

    async def until_entered(self, times: int = 1) -> None:
        for _ in range(times):
            await asyncio.to_thread(self.entered.acquire)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_answers_are_the_classifiers_in_the_order_asked(root: Path, engine: Engine) -> None:
    texts = examples(120)["text"].tolist()
    known = Classifier.load(root / "artifact", root / "calibration.json")
    calls = [engine.judge(texts[start : start + 3]) for start in range(0, 120, 3)]
    judged = [each for answer in await asyncio.gather(*calls) for each in answer]
    np.testing.assert_allclose([each.probabilities for each in judged], known.probabilities(texts), rtol=1e-5)
    assert [each.text for each in judged] == texts


async def test_texts_are_cleaned_as_before_training(engine: Engine) -> None:
    (judged,) = await engine.judge(["  ｃａｒｄ\u200b  of jo@bank.example "])
    assert judged.text == "card of [EMAIL]"


async def test_a_model_says_what_it_is(root: Path, engine: Engine) -> None:
    known = Classifier.load(root / "artifact", root / "calibration.json")
    assert (engine.about.version, engine.about.labels, engine.about.threshold) == (known.version, known.labels, 0.8)
    assert engine.root == root


async def test_no_texts_have_no_answers(engine: Engine) -> None:
    assert await engine.judge([]) == []


async def test_texts_that_cleaning_empties_are_refused_by_place_and_harm_nobody_else(engine: Engine) -> None:
    refused, answered = await asyncio.gather(engine.judge(["card", "\u200b", "\x00"]), engine.judge(["card"]), return_exceptions=True)
    assert isinstance(refused, UnusableText)
    assert refused.places == (1, 2)
    assert len(answered) == 1


async def test_texts_that_wait_share_a_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(engine, monkeypatch)
    busy = [asyncio.create_task(engine.judge(["card"])) for _ in range(2)]
    await gate.until_entered(2)
    waiting = [asyncio.create_task(engine.judge(["savings"])) for _ in range(8)]
    await until(lambda: engine.waiting == 8)
    gate.open.set()
    sizes = [each.batch for (each,) in await asyncio.gather(*waiting)]
    await asyncio.gather(*busy)
    assert max(sizes) > 1


async def test_a_text_that_breaks_the_model_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine._classifier.run
    poison = engine._classifier.tokens(["fraud fraud"])[0]
    gate = threading.Event()

    def broken(tokens):
        assert gate.wait(60)
        if poison in [list(ids) for ids in tokens]:
            raise RuntimeError("out of memory")
        return run(tokens)

    monkeypatch.setattr(engine._classifier, "run", broken)
    calls = [asyncio.create_task(engine.judge([text])) for text in ["card a", "card b", "card c", "fraud fraud", "card d"]]
    await until(lambda: not engine._asked)
    gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, RuntimeError) for answer in answers] == [False, False, False, True, False]
    assert len(await engine.judge(["card"])) == 1


async def test_an_answer_that_cannot_be_made_of_a_run_reaches_its_caller(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.model.engine.softmax", lambda *given: 1 / 0)
    for _ in range(3):  # more often than there are threads: none of them has died
        with pytest.raises(ZeroDivisionError):
            await engine.judge(["card"])


async def test_a_cancelled_caller_gives_up_its_place(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(engine, monkeypatch)
    busy = [asyncio.create_task(engine.judge(["card"])) for _ in range(2)]
    await gate.until_entered(2)
    leaves = asyncio.create_task(engine.judge(["savings"] * 50))
    await until(lambda: engine.waiting == 50)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert engine.waiting in (0, 50)  # 50 only while a thread still reads them
    gate.open.set()
    await asyncio.gather(*busy)
    await engine.judge(["card"])
    assert sum(gate.runs) == 3


async def test_whoever_waits_when_a_model_is_closed_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(root, threads=1)
    gate = Gate(engine, monkeypatch)
    begun = asyncio.create_task(engine.judge(["card"]))
    await gate.until_entered()
    waits = asyncio.create_task(engine.judge(["card"]))
    await until(lambda: engine.waiting == 1)
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    with pytest.raises(NotReady):
        await waits
    gate.open.set()
    await closing
    assert len(await begun) == 1
    with pytest.raises(NotReady):
        await engine.judge(["card"])


async def test_an_int8_model_answers_each_text_alone(root: Path) -> None:
    described = json.loads((root / "artifact" / "artifact.json").read_text())
    (root / "artifact" / "artifact.json").write_text(json.dumps(described | {"precision": "int8"}))
    engine = Engine(root, threads=1)
    assert {each.batch for each in await engine.judge(["card"] * 9)} == {1}
    engine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_the_models_threads_stand_behind_those_that_read_requests(engine: Engine) -> None:
    await asyncio.gather(*(engine.judge(["card"]) for _ in range(20)))
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    await until(lambda: [os.getpriority(os.PRIO_PROCESS, thread.native_id) for thread in engine._threads] == [here + NICE] * 2)


def test_texts_are_judged_at_once_as_in_line(engine: Engine) -> None:
    engine.warm_up()
    at_once = engine.judge_at_once(["card help", "savings"])
    in_line = asyncio.run(engine.judge(["card help", "savings"]))
    assert [each.text for each in at_once] == [each.text for each in in_line]
    np.testing.assert_allclose([each.probabilities for each in at_once], [each.probabilities for each in in_line], rtol=1e-5)
