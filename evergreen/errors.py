"""Every error that Evergreen raises on purpose.

EvergreenError
├── ConfigError        params.yaml says something that cannot be
├── DataError
│   ├── SourceError    a source file is missing, unreadable or badly encoded
│   ├── ColumnError    a column is missing or does not hold what it should
│   ├── QualityError   the content checks refuse the data
│   └── SplitError     the data cannot be split as asked, or a split leaks
├── ModelError
│   ├── BackboneError  a backbone cannot be found, trusted or used
│   ├── TrainingError  training cannot start or has diverged
│   └── ParityError    the exported model does not answer as the trained one does
├── EvidenceError      a report that a later step needs is missing or malformed
├── AccessError        the API keys cannot be read, or not be changed as asked
├── ReleaseError       a Bento is not what its manifest says, or nobody trusted has signed it
├── RegistryError      versions, tags or the ledger cannot be read or written, or do not say what they must
├── MonitorError       a window of traffic cannot be judged
├── ClaimLost          a retraining is no longer the one that may run
├── LogError           the request log cannot be used, or holds nothing of what was asked for
├── RejectedError      the gate says REJECT, and params.yaml asks for the pipeline to end there
└── PipelineError      a stage of the pipeline failed, or the pipeline cannot run here

A message says what is wrong, where, and what to do next. The command line and the stages print the message alone;
anything that is not an EvergreenError is a bug and keeps its traceback.
"""


class EvergreenError(Exception):
    """The root: catch this to catch everything that Evergreen raises on purpose."""


class ConfigError(EvergreenError):
    """params.yaml says something that cannot be."""


class DataError(EvergreenError):
    """The data cannot be used as it is."""


class SourceError(DataError):
    """A source file is missing, unreadable or badly encoded."""


class ColumnError(DataError):
    """A column is missing or does not hold what it should."""


class QualityError(DataError):
    """The content checks refuse the data."""


class SplitError(DataError):
    """The data cannot be split as asked, or a split leaks."""


class ModelError(EvergreenError):
    """A model cannot be found, trained or exported."""


class BackboneError(ModelError):
    """A backbone cannot be found, trusted or used."""


class TrainingError(ModelError):
    """Training cannot start or has diverged."""


class ParityError(ModelError):
    """The exported model does not answer as the trained one does."""


class EvidenceError(EvergreenError):
    """A report that a later step needs is missing or malformed."""


class AccessError(EvergreenError):
    """The API keys cannot be read, or not be changed as asked."""


class ReleaseError(EvergreenError):
    """A Bento is not what its manifest says, or nobody trusted has signed it."""


class LogError(EvergreenError):
    """The request log cannot be used, or holds nothing of what was asked for."""


class RegistryError(EvergreenError):
    """Versions, tags or the ledger cannot be read or written, or do not say what they must."""


class MonitorError(EvergreenError):
    """A window of traffic cannot be judged."""


class ClaimLost(EvergreenError):
    """A retraining is no longer the one that may run: another may be at work by now."""


class RejectedError(EvergreenError):
    """The gate says REJECT, and params.yaml asks for the pipeline to end there."""


class PipelineError(EvergreenError):
    """A stage of the pipeline failed, or the pipeline cannot run here."""
