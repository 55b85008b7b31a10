from importlib.metadata import version

import pytest

from evergreen.errors import PipelineError
from evergreen.release.dependencies import fingerprint, pinned, pins_for, strays
from tests.release_factories import installed


def test_pins_are_read_past_comments_extras_of_a_line_and_odd_names() -> None:
    text = "# all\nnumpy==2.4.6\n\nHuggingface_Hub == 2.4.0  # hub\ntorch==2.13.0 ; python_version > '3'\n-r other.txt\n"
    assert pinned(text) == {"huggingface-hub": "2.4.0", "numpy": "2.4.6", "torch": "2.13.0"}


def test_the_fingerprint_changes_with_a_version_and_not_with_a_comment_or_the_order() -> None:
    assert fingerprint("a==1\nb==2\n") == fingerprint("# x\nB==2\na==1")
    assert fingerprint("a==1\nb==2\n") != fingerprint("a==1\nb==3\n")


def test_the_pins_of_a_package_hold_what_it_needs_and_nothing_else() -> None:
    pins = pins_for(["pydantic"], installed())
    names = [pin.partition("==")[0] for pin in pins]
    assert {"pydantic", "pydantic-core", "typing-extensions"} <= set(names)
    assert "numpy" not in names
    assert names == sorted(names)


def test_a_need_without_a_pin_is_refused_by_name() -> None:
    without = "\n".join(line for line in installed().splitlines() if not line.startswith("pydantic_core=="))
    with pytest.raises(PipelineError, match="pins no version of pydantic-core"):
        pins_for(["pydantic"], without)


def test_a_package_that_is_not_installed_is_refused_by_name() -> None:
    with pytest.raises(PipelineError, match="no-such-package"):
        pins_for(["no-such-package"], installed())


def test_an_installed_version_that_is_not_the_pinned_one_is_named() -> None:
    pins = "packaging==0.1\nnot-installed-anywhere==1.0\n"
    assert strays(pins) == {"packaging": version("packaging")}
    assert strays(f"packaging=={version('packaging')}\n") == {}
