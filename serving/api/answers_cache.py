"""A bounded memory of answers to identical texts, off by default. Never across versions: the version is a part of the key."""

from collections import OrderedDict
from hashlib import sha256

from serving.model.backend import Judged

Key = tuple[str, bytes]


class AnswersCache:
    """The last `size` texts that were judged, by version and sha256; 0 keeps none."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[Key, Judged] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, version: str, text: str) -> Judged | None:
        """Return what this version said of this text before, if it is still known."""
        key = _key(version, text)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, version: str, text: str, judged: Judged) -> None:
        """Keep an answer; the one that was longest out of use makes room."""
        self._kept[_key(version, text)] = judged
        if len(self._kept) > self.size:
            self._kept.popitem(last=False)


def _key(version: str, text: str) -> Key:
    return version, sha256(text.encode("utf-8", "surrogatepass")).digest()
