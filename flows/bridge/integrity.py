"""What a run is going to use has the bytes that were recorded: hashed anew, and put right where a disk or a hand has changed them.

DVC takes a file for unchanged while its size and time are, and restores whatever lies write-protected in its cache. Knows nothing of
what a stage does.
"""

from collections.abc import Callable
from pathlib import Path

from evergreen.errors import PipelineError
from flows.bridge.objects import FOLDER, ObjectError, Objects, Output, matches, opened, outputs_of, replace

Say = Callable[[str], None]


def mend(root: Path, stage: str, *, say: Say) -> bool:
    """Hash the outputs of a stage (or of a .dvc file) that did not run; put right from cache or remote what is damaged.

    Returns whether all are right now; if not, the stage has to run again. Raises PipelineError for data that no stage can make again.
    """
    with opened(root) as objects:
        for out in outputs_of(root, stage):
            try:
                _mend(objects, root, out, say)
            except ObjectError as lost:
                if stage.endswith(".dvc"):
                    raise PipelineError(f"{lost}; put the original back to {out.path} and run `dvc commit {stage}`") from None
                say(f"  {lost}; the stage makes it again")
                return False
    return True


def drop_damaged_lists(root: Path, stage: str) -> None:
    """Remove the damaged lists of a stage's folders from the cache: DVC believes them, and keeps them when it writes the right ones."""
    with opened(root) as objects:
        for out in outputs_of(root, stage):
            if out.oid.endswith(FOLDER) and not matches(objects.place(out.oid), out.oid):
                objects.place(out.oid).unlink(missing_ok=True)


def _mend(objects: Objects, root: Path, out: Output, say: Say) -> None:
    if not (root / out.path).exists():
        objects.lay(out.oid, out.path, root / out.path)
        return
    for path, oid in objects.files(out.oid, out.path).items():
        file, name = (root / out.path / path, f"{out.path}/{path}") if path != "." else (root / out.path, out.path)
        if matches(file, oid):
            continue
        sound = objects.ensure(oid, name)
        if not matches(file, oid):  # where it is a link into the cache, it is right already
            replace(sound, file)
        say(f"  {name} was damaged, and is restored")
