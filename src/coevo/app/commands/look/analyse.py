"""The command ``analyse``: what a pile of generated crystals is worth, without a node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coevo.app.terminal import Force, Format, app, err, out, print_json, say
from coevo.errors import ConfigError
from coevo.families import DEFAULT_FORCE_FIELD, is_known, names_of
from coevo.studies.piles.parsing import limits_for

if TYPE_CHECKING:
    from coevo.processes import Workers
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.piles.parsing import Limits


Matcher = Literal["ordered", "disordered"]


@app.command()
def analyse(
    what: Annotated[
        str,
        typer.Argument(
            help="zip or directory of CIFs and POSCARs, .cif, POSCAR, .extxyz, .json, .jsonl (or .gz, .bz2); or a state",
            metavar="FILE|REF",
        ),
    ],
    references: Annotated[
        str | None, typer.Option(help="known phases: a bundled set such as li-p-s, or a file", metavar="NAME|FILE")
    ] = None,
    force_field: Annotated[
        str | None,
        typer.Option(help="compute the energies of pile and references with its published weights", metavar="FAMILY"),
    ] = None,
    relax: Annotated[bool, typer.Option("--relax", help="relax them with the force field before")] = False,
    same_scale: Annotated[
        bool,
        typer.Option(
            "--same-scale", help="energies in FILE and in the references' file are of one code, functional and correction"
        ),
    ] = False,
    energy_key: Annotated[
        str | None,
        typer.Option(
            "--energy-key", help="key of the energies in FILE, where several stand there, e.g. REF_energy", metavar="KEY"
        ),
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="chemical system, e.g. Li-P-S or Li,P,S; others are rejected (default: all found)")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="state whose environments are known", metavar="REF")] = None,
    max_atoms: Annotated[int, typer.Option(min=1, help="larger cells are rejected")] = 200,
    stable: Annotated[float | None, typer.Option(min=0, help="E_hull up to which a structure is stable, eV/atom [0.1]")] = None,
    ltol: Annotated[float | None, typer.Option(min=1e-6, help="StructureMatcher: length tolerance [0.2]")] = None,
    stol: Annotated[float | None, typer.Option(min=1e-6, help="StructureMatcher: site tolerance [0.3]")] = None,
    angle_tol: Annotated[float | None, typer.Option(min=1e-6, help="StructureMatcher: angle tolerance, degrees [5]")] = None,
    fragment_veto: Annotated[
        bool | None, typer.Option("--fragment-veto/--no-fragment-veto", help="structures of other anions never match [on]")
    ] = None,
    matcher: Annotated[
        Matcher,
        typer.Option(help="disordered: similar elements (P and S, ...) may change places, as in MatterGen's evaluation; slow"),
    ] = "ordered",
    environments: Annotated[int | None, typer.Option(min=2, help="N of the environments' entropy [2000]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the samples of environments [0]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes (default: COEVO_WORKERS, else all cores)")] = None,
    output: Annotated[Path | None, typer.Option(help="directory for summary.json and structures.csv")] = None,
    force: Force = False,
    format: Format = "table",  # noqa: A002
) -> None:
    """Analyse a pile of crystals: rejected, unique, novel, E_hull, environments, diversity. No node is needed."""
    from coevo.app.progress_bars import ProgressBars
    from coevo.app.tables.analysis import analysis_table
    from coevo.output.progress import reporting_to
    from coevo.processes import Workers
    from coevo.studies.analyse.summary import analyse as analyse_batch
    from coevo.studies.analyse.summary import check_output, write_analysis

    if relax and force_field is None:
        raise ConfigError(f"--relax needs a force field: add --force-field {DEFAULT_FORCE_FIELD.name}")
    if force_field is not None:
        check_force_field(force_field)
    if output is not None:
        force = check_output(output, force)
    own = {"ltol": ltol, "stol": stol, "angle_tol": angle_tol, "fragment_veto": fragment_veto, "stable_threshold": stable}
    pool = Workers(_worker_count(workers))
    with ProgressBars(err) as bars, reporting_to(bars):
        limits = replace(limits_for(elements, max_atoms), energy_key=energy_key)
        batch = _batch(what, references, limits, pool, same_scale=same_scale, force_field=force_field)
        plan = _plan(batch, own, matcher, environments, seed, _work(force_field, relax))
        known = None if baseline is None else _baseline(baseline, batch)
        result = analyse_batch(batch, plan, pool, known)
    if format == "json":
        print_json(result.numbers)
    else:
        out.print(analysis_table(result.numbers))
    if output is not None:
        say(f"written: {', '.join(str(path) for path in write_analysis(result, output, force=force))}")


def check_force_field(family: str) -> None:
    """Refuse a force field that is not known here.

    Raises
    ------
    ConfigError
    """
    if not is_known(family, "force_field"):
        raise ConfigError(f"--force-field: got {family!r}, allowed: {', '.join(names_of('force_field'))}")


def _worker_count(asked: int | None) -> int:
    from coevo.settings import usable_workers

    return asked or usable_workers()


def is_file(what: str) -> bool:
    """Whether a file is meant and not a state: it is there, or is written like one."""
    from coevo.configs.structures.files import KINDS, VASP_NAMES

    if not what.strip():  # an empty path would be this directory
        raise ConfigError("'' names neither a state nor a file; give one, or . for the files of this directory")
    path = Path(what)
    suffixes = {*KINDS, ".zip", ".gz", ".bz2"}
    # names of nodes are written in small letters
    return path.exists() or path.suffix.lower() in suffixes or "/" in what or path.name.startswith(VASP_NAMES)


def _batch(
    what: str, references: str | None, limits: Limits, pool: Workers, *, same_scale: bool, force_field: str | None
) -> Batch:
    from coevo.node_store.current import current_store
    from coevo.studies.analyse.batch import add_references, batch_from_file, batch_from_state

    if not is_file(what):
        if references is not None or force_field is not None or limits.elements is not None or limits.energy_key is not None:
            raise ConfigError(
                f"{what} is a state, which has references, energies and elements of its own: leave --references, "
                "--force-field, --energy-key and --elements away"
            )
        return batch_from_state(current_store(), what)
    batch = batch_from_file(Path(what), limits, pool)
    if references is not None and batch.valid():
        add_references(batch, references, limits, pool, same_scale=same_scale)
        both = batch.scale is not None and any(row.energy_per_atom is not None for row in batch.references)
        if both and not same_scale and force_field is None:
            batch.notes.append(
                f"energies in {references} are not used: nobody said that they are on the scale of {Path(what).name}; if they "
                f"are, add --same-scale, else --force-field {DEFAULT_FORCE_FIELD.name}"
            )
    return batch


def _plan(batch: Batch, own: dict[str, Any], matcher: Matcher, environments: int | None, seed: int | None, work: Any) -> Any:
    """Take what the user says, else what the node of a state says, else the defaults."""
    from coevo.makers.populations.population import matching_of
    from coevo.studies.analyse.environments import Sampling
    from coevo.studies.analyse.summary import Plan

    curation = batch.curation.model_copy(update={key: value for key, value in own.items() if value is not None})
    sampling = Sampling(
        environments=environments or batch.maturity.environments,
        subsamples=batch.maturity.subsamples,
        seed=seed if seed is not None else (batch.entropy_seed or 0),
    )
    return Plan(replace(matching_of(curation), kind=matcher), sampling, curation.stable_threshold, work)


def _work(force_field: str | None, relax: bool) -> Any:
    from coevo.configs.tree import ScreeningConfig
    from coevo.settings import read_settings
    from coevo.studies.analyse.energies import ForceFieldWork

    if force_field is None:
        return None
    screening = ScreeningConfig()
    return ForceFieldWork(force_field, relax, screening.fmax, screening.max_steps, read_settings().device)


def _baseline(ref: str, batch: Batch) -> Batch:
    """Entries and references of a state, whose descriptor is then the batch's too."""
    from coevo.node_store.current import current_store
    from coevo.studies.analyse.batch import batch_from_state

    known = batch_from_state(current_store(), ref)
    batch.descriptor = known.descriptor
    known.rows = [row for row in known.rows if not known.stored[row.id]["duplicate_of"]]
    for row in (*known.rows, *known.references):
        row.representative = row.id
    known.rows += known.references
    return known
