"""What this machine has for coevo, with a hint for each thing that is missing; only looks, changes nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from coevo.app.terminal import styled
from coevo.errors import CoevoError
from coevo.families import DEFAULT_FORCE_FIELD, FAMILIES, descriptor_of, names_of
from coevo.settings import read_settings

if TYPE_CHECKING:
    from coevo.families import Family

Condition = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    what : str
    condition : {"ok", "missing", "problem"}
        ``missing`` is optional and absent; ``problem`` keeps coevo from working.
    found : str
    hint : str
        What to do; empty when ok.
    """

    what: str
    condition: Condition
    found: str
    hint: str = ""


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0))
    try:
        workers = read_settings().workers or cores
    except CoevoError as err:
        return Finding("settings", "problem", str(err), "correct the COEVO_* variables (docs/configuration.md)")
    return Finding("cores", "ok", f"{cores} usable, {workers} workers")


def _database() -> Finding:
    from coevo.node_store.current import current_store

    try:
        settings = read_settings()
        nodes = current_store().nodes()
    except CoevoError as err:
        return Finding("database", "problem", str(err), "set COEVO_DATABASE to file:DIRECTORY or mongodb://HOST/DATABASE")
    where = f"directory {settings.directory}" if settings.is_embedded else "MongoDB server"
    return Finding("database", "ok", f"{where}, {len(nodes)} node{'' if len(nodes) == 1 else 's'}")


def _package(what: str, distribution: str, hint: str) -> Finding:
    try:
        return Finding(what, "ok", f"{distribution} {version(distribution)}")
    except PackageNotFoundError:
        return Finding(what, "missing", f"{distribution} is not installed", hint)


def _executable(what: str, name: str, hint: str) -> Finding:
    path = shutil.which(name)
    return Finding(what, "ok", path) if path else Finding(what, "missing", f"no {name} on PATH", hint)


def _force_fields() -> list[Finding]:
    """Load each force field that is known here with its default weights."""
    return [_force_field(name) for name in names_of("force_field")]


def _force_field(name: str) -> Finding:
    from coevo.models.registry import force_field_from

    what = "force field" if name == DEFAULT_FORCE_FIELD.name else f"force field {name}"
    get = "repair its package"
    try:
        family = descriptor_of(name, "force_field")
        get = family.get or get
        if family.environment is not None:
            return _force_field_elsewhere(what, family)
        force_field = force_field_from(name, weights=family.default_weights)
        told = f"{family.title} {family.version()}".strip()
    except (CoevoError, ImportError, PackageNotFoundError) as err:
        return Finding(what, "problem", f"{name} does not load: {err}", get)
    return Finding(what, "ok", f"{told}, weights {family.default_weights}, scale {force_field.energy_scale}")


def _force_field_elsewhere(what: str, family: Family) -> Finding:
    """Say whether a force field with an environment of its own has one; `coevo env check` runs it."""
    from coevo.models.external.checking import condition_of

    assert family.environment is not None
    condition, where = condition_of(family.environment)
    weights = f"{family.default_weights}, scale {family.weights[family.default_weights].energy_scale}"
    if condition in {"ready", "described", "own"}:
        return Finding(what, "ok", f"{family.title} {family.version()}, weights {weights}, environment {condition}: {where}")
    return Finding(what, "missing", f"the environment of {family.name}: {condition}", family.get)


def _second_opinions() -> list[Finding]:
    """Say of each node of the database whether the other force fields of its second opinion are here."""
    from coevo.configs.loading import parse_config
    from coevo.node_store.current import current_store

    try:
        store = current_store()
        texts = {node: store.read_config_text(node) for node in store.nodes()}
    except CoevoError:  # the line of the database says it
        return []
    found = []
    for node, text in texts.items():
        try:
            others = parse_config(text, node).uncertainty.others
        except CoevoError:  # not valid, or of a family that is not installed: what acts on the node says so
            continue
        for family in sorted({other.family for other in others}):
            own = _force_field(family)
            what = f"second opinion of {node}"
            found.append(Finding(what, "problem" if own.condition != "ok" else "ok", f"{family}: {own.found}", own.hint))
    return found


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", "ok", torch.cuda.get_device_name(0))
    return Finding(
        "GPU", "missing", "torch sees none", "force fields run on the CPU; install a CUDA build of torch where there is a GPU"
    )


def _slurm() -> Finding:
    from coevo.slurm.detection import find_slurm

    found = find_slurm()
    if found is None:
        return Finding(
            "SLURM", "missing", "no sbatch on PATH", "campaigns run in this process; use a cluster's login node for SLURM"
        )
    if not found.controller_answers:
        # installed, as for the tests, and perhaps meant for another day: campaigns run without it
        hint = "`scontrol ping` says why; campaigns run in this process all the same"
        return Finding("SLURM", "missing", f"{found.version or 'sbatch is there'}, but no controller answers", hint)
    return Finding("SLURM", "ok", found.version or "version unknown")


def _labelling_codes() -> list[Finding]:
    """What each labelling code finds here: executables, potentials, packages."""
    from coevo.labelling.registry import found_here

    return [Finding(found.what, found.condition, found.found, found.hint) for found in found_here()]


def _own_generator() -> str:
    """Families of generators that run in this environment."""
    return ", ".join(family.name for family in FAMILIES if family.role == "generator" and family.environment is None)


def _environments() -> Finding:
    """Say which model families have an environment of their own; `coevo env check` runs one."""
    from coevo.models.external.checking import condition_of
    from coevo.models.registry import external_families

    try:
        found = {name: condition_of(family)[0] for name, family in external_families().items()}
    except CoevoError as err:
        return Finding("model environments", "problem", str(err), "correct the file (docs/generators.md)")
    told = ", ".join(f"{name}: {condition}" for name, condition in found.items())
    if "no checkout" in found.values():
        return Finding("model environments", "missing", told, "`coevo env list` says which checkout, and why it is not used")
    if set(found.values()) <= {"ready", "described", "own"}:
        return Finding("model environments", "ok", told)
    hint = f"`coevo env create FAMILY` makes one; the {_own_generator()} generator needs none"
    return Finding("model environments", "missing", told, hint)


def examine() -> list[Finding]:
    """Look at the machine."""
    return [
        _cores(),
        _database(),
        *_force_fields(),
        *_second_opinions(),
        _gpu(),
        _package("pyxtal", "pyxtal", f"pip install pyxtal (the {_own_generator()} generator needs it)"),
        _environments(),
        *_labelling_codes(),
        _executable("mpirun", "mpirun", "pw.x and VASP run on one core without it; apt install openmpi-bin"),
        _package("phonopy", "phonopy", "pip install 'coevo[phonons]' (studies of phonons and stability need it)"),
        _package("FireWorks", "fireworks", "pip install 'coevo[fireworks]'"),
        _slurm(),
    ]


def examine_site_file(file: str) -> list[Finding]:
    """Try a site: its servers, its artifact store, its directory, and each class by ``sbatch --test-only``.

    Raises
    ------
    ConfigError
        If the file is not valid.
    """
    from coevo.configs.site_loading import load_site
    from coevo.slurm.site_check import examine_site

    return [Finding(*finding) for finding in examine_site(load_site(file))]


def findings_table(findings: list[Finding]) -> Table:
    """Return the findings as a table."""
    table = Table(title="coevo doctor", title_justify="left")
    for title in ("what", "", "found", "what to do"):
        table.add_column(title, overflow="fold")
    colours = {"ok": "green", "missing": "yellow", "problem": "red"}
    for finding in findings:
        table.add_row(finding.what, styled(finding.condition, colours[finding.condition]), finding.found, finding.hint)
    return table


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return the findings as JSON."""
    return [asdict(finding) for finding in findings]
