"""Every error that coevo raises on purpose.

Each class is also the builtin that a caller would expect (``except LookupError`` works), and each message says what is wrong,
what was found, what is allowed and what to do. The command line turns a :class:`CoevoError` into one line and exit code 2.
"""

from __future__ import annotations


class CoevoError(Exception):
    """Base class of all errors that are part of coevo's interface."""


class CoevoWarning(UserWarning):
    """Base class of all warnings that coevo issues."""


class ConfigError(CoevoError, ValueError):
    """A configuration file, preset or setting is not valid."""


class NodeNotFoundError(CoevoError, LookupError):
    """The database has no node of this name."""


class NodeExistsError(CoevoError, ValueError):
    """A node of this name exists already and differs from the one asked for."""


class StateNotFoundError(CoevoError, LookupError):
    """No state answers to this reference (``node@branch~n`` or ``node@idprefix``)."""


class NodeBusyError(CoevoError, RuntimeError):
    """Another process runs or changes this branch."""


class BranchExistsError(CoevoError, ValueError):
    """A branch of this name is there already, at another state."""


class UnmergedBranchError(CoevoError, ValueError):
    """A branch is to be removed whose work no other branch holds."""


class BranchMovedError(CoevoError, RuntimeError):
    """A branch was moved by somebody else between read and commit.

    Attributes
    ----------
    expected, found : str or None
        The state id that the commit started from and the one found on the branch.
    kept_as : str or None
        The branch that keeps the work of the commit that lost.
    """

    def __init__(self, message: str, *, expected: str | None = None, found: str | None = None, kept_as: str | None = None):
        super().__init__(message)
        self.expected = expected
        self.found = found
        self.kept_as = kept_as


class ArtifactNotFoundError(CoevoError, LookupError):
    """An artifact is not in the artifact store."""


class CorruptArtifactError(CoevoError, ValueError):
    """The bytes of an artifact, segment or document do not have the hash that names them."""


class BundleError(CoevoError, ValueError):
    """A bundle cannot be exported or imported: damaged, not what it declares, too large, or of a newer format."""


class StorageError(CoevoError, OSError):
    """The database or artifact store cannot be read or written (disk full, read-only, connection lost)."""


class ReferenceDataError(CoevoError, ValueError):
    """A file of reference structures cannot be used."""


class ProviderError(CoevoError, OSError):
    """A server with known structures cannot be reached, refuses, or answers what cannot be used.

    Attributes
    ----------
    status : int or None
        HTTP status of a refusal.
    """

    def __init__(self, message: str, *, status: int | None = None):
        super().__init__(message)
        self.status = status


class QueryError(CoevoError, ValueError):
    """A query filter, field or sort key is not valid."""


class CheckpointError(CoevoError, ValueError):
    """A model checkpoint cannot be loaded: truncated, of another family, or not trusted."""


class ModelError(CoevoError, RuntimeError):
    """A generator or force field failed as a whole (single structures fail as results, not as errors)."""


class LabellingError(CoevoError, RuntimeError):
    """A labelling code failed as a whole (single frames fail as results, not as errors)."""


class CampaignError(CoevoError, RuntimeError):
    """A campaign cannot start or go on."""


class AnalysisError(CoevoError, ValueError):
    """Structures, compositions, energies or arrays handed to an analysis cannot be used."""


class WorkerDiedError(AnalysisError):
    """A worker process was ended by something else than its work."""


class LocalClusterError(CoevoError, RuntimeError):
    """The one-host SLURM cluster for tests cannot be started, or may not be started here."""


class QueueError(CoevoError, RuntimeError):
    """SLURM does not answer, or refuses a job."""
