"""Jobs that compute nothing, in workflows as the loop makes them: what is left is the cost of running a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow import Flow, JobConfig, job

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE = "orchestration"
CLASS = "small"


@job
def square(number: int) -> dict[str, int]:
    return {"number": number, "square": number * number}


def tiny_flow(numbers: Sequence[int], iteration: int) -> tuple[Flow, dict[str, Any]]:
    """Jobs that do not wait for each other, named and described as those of a campaign; and the metadata of their workflow."""
    jobs = []
    for number in numbers:
        one = square(number)
        one.name = f"{NODE}/{iteration}/screen/{number:04d}"
        one.update_config(JobConfig(manager_config={"_category": CLASS}))
        jobs.append(one)
    flow = Flow([*jobs], name=f"{NODE}/{iteration}")
    key = f"benchmark/{iteration}"
    described = {"node": NODE, "branch": "main", "campaign": "benchmark", "iteration": iteration, "key": key}
    flow.update_metadata({"coevo": described}, dynamic=True)
    return flow, {"coevo": described}
