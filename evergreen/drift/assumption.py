"""What an estimate of accuracy without labels assumes: in full for each window's record, in short for wherever the figure is shown.

Imports nothing, so that whoever shows a figure shows the words at no cost.
"""

ASSUMPTION = (
    "an answer of a given confidence is right as often as on the reference. That holds where the mix of familiar texts changes; "
    "it need not hold for new kinds of texts, nor where the right answer itself has changed: then labels must tell"
)
IN_SHORT = "if confidence still means what it did at the snapshot"
SENTENCE = f"The estimated accuracy holds {IN_SHORT}; where it does not, labels must tell."
