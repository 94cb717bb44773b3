"""One tree of exceptions; every message says what came, what was wanted and what to try.

TramontaneError
├── ConfigError             settings that are unknown or contradict each other
├── BackendUnavailable      a runtime that this machine or installation lacks
├── NotEnoughMemory         less memory is left than a model or its keys and values need
├── DiskFull                no room; what was being written is gone, what was there is whole
├── Busy                    another process holds the library or the expert being learnt
├── CheckpointError         a model file that is damaged, unknown or too large
│   ├── HashMismatch        the bytes are not the published ones
│   └── PullError           a model that could not be fetched
│       ├── ModelNotFound   no such model, file or quantisation
│       └── ModelGated      the owner asks for a licence to be accepted or a token
├── TokenizerError          a vocabulary or a chat template that cannot be used
├── NotesError              a folder or note that cannot be read
├── LibraryError            a library file that cannot be used
├── ExpertError             an expert or mixture file that is damaged, foreign or dishonest
│   └── LearnError          a collection that an expert cannot be learnt from
├── AuditError              audits, suites and findings that are damaged or can't be compared
├── RequestError            a request that cannot be served as asked
│   └── PromptTooLong       more tokens came than fit
└── NotFound                no collection, note, expert or mixture of that name
"""


class TramontaneError(Exception):
    """Something a person can act on; the message is written for them."""


class ConfigError(TramontaneError):
    pass


class BackendUnavailable(TramontaneError):
    pass


class NotEnoughMemory(TramontaneError):
    pass


class DiskFull(TramontaneError):
    pass


class Busy(TramontaneError):
    pass


class CheckpointError(TramontaneError):
    pass


class HashMismatch(CheckpointError):
    pass


class PullError(CheckpointError):
    pass


class ModelNotFound(PullError):
    pass


class ModelGated(PullError):
    pass


class TokenizerError(TramontaneError):
    pass


class NotesError(TramontaneError):
    pass


class LibraryError(TramontaneError):
    pass


class ExpertError(TramontaneError):
    pass


class LearnError(ExpertError):
    pass


class AuditError(TramontaneError):
    pass


class RequestError(TramontaneError):
    pass


class PromptTooLong(RequestError):
    pass


class NotFound(TramontaneError):
    pass
