"""One model, in this process: the `backend.Models` of a service that runs inside a Bento."""

from pathlib import Path
from typing import Self

from evergreen.sections.loop import Serve
from serving.model.backend import Challenger
from serving.model.engine import Engine
from serving.model.worker import load
from serving.settings import Size


class Alone:
    """A champion that never changes, and no challenger."""

    def __init__(self, champion: Engine) -> None:
        self.champion = champion
        self.challenger: Challenger | None = None

    @classmethod
    def load(cls, root: Path, serve: Serve) -> Self:
        """Load the model of a Bento's files, held to its recorded answers; every core works for it."""
        size = Size.of(serve)
        return cls(load(root, size.workers * size.threads))
