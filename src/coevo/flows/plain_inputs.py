"""What a Flow may be handed: plain values, references to outputs of its own jobs, and nothing that a decoder acts on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import CorruptArtifactError
from coevo.node_store.marked_keys import refuse_marked_keys

if TYPE_CHECKING:
    from jobflow import Flow


def check_inputs(flow: Flow) -> None:
    """Look at the arguments of every job of a Flow before it is run or added to a queue.

    jobflow writes arguments as JSON and reads them with a decoder that imports what a mapping with ``@module`` names. References
    to outputs are objects of their own here, so a mapping with such a key can only have come from a document.

    Raises
    ------
    CorruptArtifactError
        With the job and the path to the key; nothing was run.
    """
    for job, _ in flow.iterflow():
        try:
            refuse_marked_keys(list(job.function_args), "arguments")
            refuse_marked_keys(dict(job.function_kwargs), "arguments")
        except ValueError as err:
            what = f"job {job.name}: {err}; nothing was run; a document of the state holds it: see coevo verify"
            raise CorruptArtifactError(what) from None
