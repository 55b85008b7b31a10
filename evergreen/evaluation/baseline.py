"""What a fine-tuned model must beat: word counts and a linear model, trained on the same rows within seconds.

TF-IDF of words and word pairs beside TF-IDF of 3-5 characters inside words, then multinomial logistic regression. It sees
the train split alone, as the model does: no tuning, no early stopping, so validation rows would be of no use to it.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from threadpoolctl import threadpool_limits

Labels = NDArray[np.object_]

SHARES = (0.125, 0.25, 0.5, 1.0)  # of the train rows, each twice the one before
MAX_STEPS = 1000


def linear_model(*, c: float) -> Pipeline:
    """Return the untrained baseline; `c` is the inverse of the regularisation's strength (larger: follows the rows closer)."""
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), LogisticRegression(C=c, max_iter=MAX_STEPS))


def predict(train: pd.DataFrame, texts: Iterable[str], *, c: float) -> Labels:
    """Train the baseline on a table's `text` and `label` and return its answer (n,) to each text."""
    with threadpool_limits(limits=1):  # a second thread saves nothing here, and on a busy machine costs seven times the time
        return np.asarray(linear_model(c=c).fit(train["text"], train["label"]).predict(list(texts)), object)


def learning_curve(train: pd.DataFrame, texts: Iterable[str], *, c: float, seed: int) -> Iterator[tuple[int, Labels]]:
    """Yield train rows used and answers (n,), for growing shares of the train rows; the last one uses them all.

    The shares are nested and stratified: each holds the one before, and at least one row of every label.
    """
    texts = list(texts)
    shuffled = train.iloc[np.random.default_rng(seed).permutation(len(train))]
    rank = shuffled.groupby("label").cumcount()
    size = shuffled.groupby("label")["label"].transform("size")
    for share in SHARES:
        part = shuffled[rank < np.ceil(share * size)]
        yield len(part), predict(part, texts, c=c)
