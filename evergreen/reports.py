"""Reports as JSON: read with an error that names the report, written so that the same content gives the same bytes."""

import json
import math
from pathlib import Path
from typing import Any

from evergreen.errors import EvidenceError


def read_report(path: Path) -> dict[str, Any]:
    """Read a JSON report; raise EvidenceError when it is missing or is not a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvidenceError(f"the report {path} is missing; run the stage that writes it (`dvc repro`)") from None
    except (ValueError, UnicodeDecodeError) as fault:
        raise EvidenceError(f"the report {path} is not valid JSON ({fault}); delete it and run `dvc repro`") from None
    if not isinstance(content, dict):
        raise EvidenceError(f"the report {path} holds a {type(content).__name__}, not an object")
    return content


def write_report(content: dict[str, Any], path: Path) -> None:
    """Write a JSON report: UTF-8, two-space indent, keys in the given order, no NaN (it is written as null)."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    """Return the value in plain Python types, NaN and infinities as None: JSON has neither."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
