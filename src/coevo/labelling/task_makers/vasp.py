"""atomate2's Makers of VASP: how they are run for labels, what their input sets say, and their task documents as labels.

What custodian did, whether the electronic loop ended because it converged, and whether a correction changed what is computed is
judged as for the labelling code ``vasp`` (:mod:`coevo.labelling.vasp.labels`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.configs.tree import VaspConfig
from coevo.errors import LabellingError
from coevo.labelling.task_makers.documents import get
from coevo.labelling.vasp.labels import label_of
from coevo.labelling.vasp.requirements import require_command, require_potcars
from coevo.labelling.vasp.running import VaspRun, read_run, run_vasp_kwargs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import Maker

    from coevo.labelling.contract import LabelResult
    from coevo.labelling.sanity import SanityLimits
    from coevo.labelling.task_makers.running import MakerRun
    from coevo.labelling.vasp.labels import PreparedFrame

ATOMATE2_COMMAND = "vasp_std"
"""What ``COEVO_VASP_COMMAND`` is by default; then atomate2's own setting counts."""


def command_of(maker: Maker, configured: str) -> str:
    """How VASP is started: by the Maker's own arguments, else ``COEVO_VASP_COMMAND``, else atomate2's ``VASP_CMD``."""
    from atomate2 import SETTINGS

    own = maker.run_vasp_kwargs.get("vasp_cmd")  # type: ignore[attr-defined]
    return str(own or (configured if configured != ATOMATE2_COMMAND else SETTINGS.VASP_CMD))


def for_labels(maker: Maker, command: str) -> Maker:
    """Return a Maker for one frame, with handlers of its own and nothing that is in no digest; the user's arguments go before."""
    from dataclasses import replace

    own: Any = maker
    kwargs = {**run_vasp_kwargs(VaspConfig(), command), **own.run_vasp_kwargs}
    return replace(
        own,
        run_vasp_kwargs=kwargs,
        # INCAR updates of a ~/.atomate2.yaml would change the numbers unseen
        write_input_set_kwargs={"apply_incar_updates": False, **own.write_input_set_kwargs},
        task_document_kwargs={"store_additional_json": False, "run_bader": False, "run_ddec6": False, **own.task_document_kwargs},
        # a run that did not converge is a rejected label, not an error
        stop_children_kwargs={**own.stop_children_kwargs, "handle_unsuccessful": False},
    )


def input_settings(maker: Maker, elements: Sequence[str], command: str) -> tuple[str, dict[str, Any]]:
    """Return the functional of a Maker's input set, and what it says that does not depend on a frame.

    Raises
    ------
    LabellingError
        If the input set is not static or cannot be made for the elements, or VASP or a potential is missing.
    """
    from pymatgen.core import Lattice, Structure

    from coevo.labelling.imported.vasprun.functional import functional_of
    from coevo.labelling.imported.vasprun.tags import AtomType, Tags

    if not elements:
        raise LabellingError("VASP: the elements of the node are not given; its settings name a potential of each")
    generator: Any = maker.input_set_generator  # type: ignore[attr-defined]
    names = sorted(set(elements))
    before = generator.structure
    try:
        generator.structure = Structure(
            Lattice.orthorhombic(5.0 * len(names), 5.0, 5.0),
            names,
            [[index / len(names), 0.0, 0.0] for index in range(len(names))],
        )
        incar = dict(generator.incar)
        symbols = dict(zip(generator.poscar.site_symbols, generator.potcar_symbols, strict=True))
        library = str(generator.user_potcar_functional)
    except Exception as err:  # noqa: BLE001  (whatever an input set raises on elements that it does not know)
        raise LabellingError(
            f"{type(generator).__name__}: no input for {', '.join(names)}: {type(err).__name__}: {err}"
        ) from None
    finally:
        generator.structure = before
    if int(incar.get("NSW") or 0) > 0 and int(incar.get("IBRION", 2)) != -1:
        raise LabellingError(
            f"labelling.maker: {type(maker).__name__} moves atoms (NSW = {incar['NSW']}), and a label is of the frame as it is; "
            "take a static Maker"
        )
    require_command(command)
    potcars = require_potcars(symbols, library)
    types = [AtomType(1, element, 0.0, potcars[element].title) for element in symbols]
    functional = functional_of(Tags(incar, {}), types)
    told = {
        "energy": "free energy",
        "potcar_library": library,
        "potcars": {element: asdict(potcar) for element, potcar in potcars.items()},
    }
    return functional or "", told


def check_version(document: Any, wanted: str, maker: str) -> None:
    """Raise LabellingError if a document names another VASP than the one that is wanted, if any is."""
    found = str(get(get(document, "calcs_reversed")[0], "vasp_version") or "").strip()
    parts = wanted.split(".")
    if wanted and found and found.split(".")[: len(parts)] != parts:
        raise LabellingError(
            f"{maker}: this is VASP {found}, and labelling.stated.version is {wanted}; labels of two versions are not mixed"
        )


def vasp_label(run: MakerRun, frame: PreparedFrame, limits: SanityLimits) -> LabelResult:
    """Turn a run that ended with a task document of VASP, or with an error of custodian's, into a label."""
    vasp = VaspRun(document=None if run.document is None else _task_document(run.document), error=run.error)
    where = _directory_of(vasp.document, run.directory)
    read_run(where, vasp)
    if vasp.document is not None and not _has(where, "OUTCAR"):
        vasp.reached_ediff = True  # its output is not here; what the document says has to do
    if vasp.document is not None and not vasp.corrections:
        vasp.corrections = _corrections(vasp.document)
    return label_of(vasp, frame, limits, _first_incar(vasp.document))


def _task_document(document: Any) -> Any:
    from emmet.core.tasks import TaskDoc

    return document if not isinstance(document, dict) else TaskDoc.model_validate(document)


def _directory_of(document: Any, fallback: Path) -> Path:
    """Where the run of a document is: it names host and path."""
    said = str(get(document, "dir_name") or "").rpartition(":")[2] if document is not None else ""
    return Path(said) if said and Path(said).is_relative_to(fallback.parent) and Path(said).is_dir() else fallback


def _has(directory: Path, name: str) -> bool:
    return any((directory / f"{name}{end}").is_file() for end in ("", ".gz"))


def _corrections(document: Any) -> list[dict[str, Any]]:
    """Corrections that the document tells of, as those of custodian.json."""
    found = []
    for entry in get(document, "custodian") or []:
        for correction in get(entry, "corrections") or []:
            handler = correction.get("handler")
            found.append(
                {
                    "errors": list(map(str, correction.get("errors") or [])),
                    "actions": correction.get("actions"),
                    "handler": handler.get("@class", "") if isinstance(handler, dict) else str(handler),
                }
            )
    return found


def _first_incar(document: Any) -> dict[str, Any]:
    """INCAR that VASP was given at first."""
    first = get(document, "orig_inputs") if document is not None else None
    incar = get(first, "incar") if first is not None else None
    if incar is None and document is not None:
        incar = get(get(document.calcs_reversed[-1], "input"), "incar")
    return dict(incar or {})
