"""Golden requests: a model must give its own recorded answers before anybody may ask it.

`golden.json` holds texts with the label and the probabilities that were recorded when the version was evaluated. Wrong
files, another runtime or a broken processor show here, not in a customer's answer. Knows nothing of how a model runs.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.model.backend import About, Judged
from serving.settings import GOLDEN


class GoldenError(RuntimeError):
    """A model does not give the answers that were recorded for it; it must not be asked anything."""


def check(root: Path, about: About, judge: Callable[[Sequence[str]], Sequence[Judged]]) -> int:
    """Compare the model's answers with the recorded ones of its Bento; return how many agreed, which is all of them.

    Raises GoldenError that says which differed and by how much. The texts themselves are not repeated.
    """
    examples, tolerance = _load(root / GOLDEN)
    faults = []
    for number, (example, judged) in enumerate(zip(examples, judge([example["text"] for example in examples]), strict=True), start=1):
        recorded = example["probabilities"]
        label = about.labels[max(range(len(judged.probabilities)), key=judged.probabilities.__getitem__)]
        if len(recorded) != len(judged.probabilities):
            faults.append(f"example {number} has {len(recorded)} probabilities, the model gives {len(judged.probabilities)}")
            continue
        apart = max(abs(was - now) for was, now in zip(recorded, judged.probabilities, strict=True))
        if label != example["label"]:
            faults.append(f"example {number} is {label}, recorded as {example['label']}")
        elif not apart <= tolerance:
            faults.append(f"example {number}: probabilities {apart:.2g} apart, allowed {tolerance:.2g}")
    if faults:
        raise GoldenError(
            f"model {about.version} does not give its own recorded answers: {'; '.join(faults)}. "
            "Do not serve it here; build it again with `dvc repro package`"
        )
    return len(examples)


def _load(path: Path) -> tuple[list[dict[str, Any]], float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        examples, tolerance = content["examples"], float(content["tolerance"])
    except FileNotFoundError:
        raise GoldenError(f"{path} is missing; build the Bento again with `dvc repro package`") from None
    except (KeyError, TypeError, ValueError) as fault:
        raise GoldenError(f"{path} is not a file of golden requests ({type(fault).__name__}); run `dvc repro package`") from None
    if not examples:
        raise GoldenError(f"{path} holds no examples; build the Bento again with `dvc repro package`")
    return examples, tolerance
