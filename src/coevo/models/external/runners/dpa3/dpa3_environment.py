"""What has to be settled before DeePMD-kit is imported: threads, the device, and its library of operators."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

ONE_THREAD = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")
"""A sum that is split over threads depends in its last digits on how it was split."""


def prepare() -> None:
    """Set the variables that DeePMD-kit reads while it is imported, by the device of ``request.json``."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    wanted = _wanted_device()
    if wanted == "cpu":
        os.environ["DEVICE"] = "cpu"
    else:
        os.environ.pop("DEVICE", None)
    # DeePMD-kit's number of a GPU; one of a launcher of parallel jobs would speak of another process.
    os.environ.pop("LOCAL_RANK", None)
    if number := wanted.partition(":")[2]:
        os.environ["LOCAL_RANK"] = number


def import_deepmd() -> str:
    """Import DeePMD-kit's part for PyTorch; return in words what its library of operators does.

    A wheel has that library for one version of torch, and DeePMD-kit cannot be imported beside another one while the library is
    there. Nothing of this family needs it: beside another torch it is left where it is and not loaded, which is what DeePMD-kit
    itself does where there is none.

    Raises
    ------
    ImportError
        If DeePMD-kit or what it needs is not there.
    """
    import deepmd.env
    import torch

    built, found = deepmd.env.GLOBAL_CONFIG.get("pt_version", ""), torch.__version__.partition("+")[0]
    try:
        if built == found:
            import deepmd.pt.cxx_op

            return f"loaded, for torch {built}" if deepmd.pt.cxx_op.ENABLE_CUSTOMIZED_OP else "none"
        with mock.patch.object(deepmd.env, "SHARED_LIB_DIR", Path("no-operators")):
            import deepmd.pt
    except Exception as err:  # missing companions of a wheel surface as errors of many kinds
        raise ImportError(
            f"DeePMD-kit cannot be imported: {type(err).__name__}: {str(err)[:300]}; its wheel also needs the packages mpich and "
            "e3nn, which `coevo env create dpa3` installs"
        ) from err
    return f"not loaded, for torch {built or 'unknown'} and this is {found}; plain torch does their work"


def _wanted_device() -> str:
    try:
        request: dict[str, Any] = json.loads(Path("request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "auto"
    return str(request.get("device", "auto"))
