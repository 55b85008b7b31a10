"""What a comparison says in words: the verdict as a sentence, and what to bear in mind when reading it."""

from collections.abc import Iterator

from evergreen.evaluation.sequential import Bounds
from evergreen.monitoring.trials.comparison import Comparison
from evergreen.wording import counted

FEW_KEYS = 20  # fewer API keys in an arm of a canary, and a difference may be one of callers
OFTEN = "Looks may be taken as often as one likes."


def points(bounds: Bounds) -> str:
    """Return a difference of shares in percentage points with its ends: `+2.1 points (+0.3 to +3.9)`."""
    return f"{100 * bounds.value:+.1f} points ({100 * bounds.low:+.1f} to {100 * bounds.high:+.1f})"


def sentence(comparison: Comparison) -> str:
    """Return the verdict with its reason."""
    rows = _labelled(comparison)
    if not rows:
        return f"not yet: nobody has told the right label of {_what(comparison)} (POST /feedback). {OFTEN}"
    if not (comparison.champion.labelled and comparison.challenger.labelled):
        silent = "champion" if comparison.challenger.labelled else "challenger"
        return f"not yet: all {counted(rows, 'label')} are of one version, none of the {silent}'s answers has one. {OFTEN}"
    seen = f"{points(comparison.difference)} with {counted(rows, 'label')}"
    if comparison.verdict == "better":
        return f"better: the challenger is right more often, by {seen}. {OFTEN}"
    if comparison.verdict == "worse":
        return f"worse: the challenger is right less often, by {seen}. {OFTEN}"
    if comparison.verdict == "no worse":
        return f"no worse: the challenger loses less than {100 * (comparison.margin or 0):g} points for sure, {seen}. {OFTEN}"
    return f"not yet: the difference is {seen}{_wait(comparison)}. {OFTEN}"


def notes(comparison: Comparison) -> Iterator[str]:
    """Yield what a reader should know before acting on the figures."""
    champion, challenger = comparison.champion, comparison.challenger
    shadow = comparison.trial.mode == "shadow"
    if comparison.missing:
        yield (
            f"The challenger did not judge {comparison.missing:,} of {champion.answers + comparison.missing:,} requests "
            "(too busy, or failed); they are left out."
        )
    if shadow and 0 < champion.labelled < champion.answers:
        yield (
            f"Labels were told for {champion.labelled / champion.answers:.1%} of the requests. "
            "If that is mainly where the champion was wrong, the challenger looks better than it is: "
            "ask for labels of requests drawn at random."
        )
    if not shadow and min(champion.labelled, challenger.labelled) > 0:
        yield (
            f"Labels were told for {challenger.labelled / challenger.answers:.1%} of the challenger's answers and "
            f"{champion.labelled / champion.answers:.1%} of the champion's; the comparison is fair as far as they were told alike."
        )
    if not shadow and 1 < challenger.keys < FEW_KEYS:
        yield (
            f"The challenger answers {counted(challenger.keys, 'API key')} only: a difference may be one of callers, not of versions. "
            "A trial in shadow has no such doubt."
        )
    if comparison.others:
        yield f"{counted(comparison.others, 'answer')} of other versions fell into the trial; they are not counted."


def _labelled(comparison: Comparison) -> int:
    shadow = comparison.trial.mode == "shadow"
    return comparison.champion.labelled + (0 if shadow else comparison.challenger.labelled)


def _what(comparison: Comparison) -> str:
    return "a request that both versions judged" if comparison.trial.mode == "shadow" else "an answer of either version"


def _wait(comparison: Comparison) -> str:
    if comparison.labels_needed is None:
        return ""
    more = comparison.labels_needed - _labelled(comparison)
    return f"; if it stays so, about {counted(_rounded(more), 'label')} more will tell"


def _rounded(number: int) -> int:
    """Return a number with two digits that count."""
    scale = int(10 ** max(0, len(str(number)) - 2))
    return max(1, round(number / scale) * scale)
