"""What coevo knows of a family of models before anything of it is imported: plain data, for configurations and job keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from coevo.errors import ConfigError
from coevo.families.checkout import Checkout as Checkout  # noqa: PLC0414, TC001 - known by this module
from coevo.families.weights_files import weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Role = Literal["force_field", "generator"]
"""What a state has a checkpoint for."""

ROLES: tuple[Role, ...] = get_args(Role)

CAPABILITIES: dict[str, dict[str, str]] = {
    "force_field": {
        "fit": "can be fine-tuned on labels",
        "watch": "can watch energies above hull while it is fitted (training.watch_hull)",
        "relax": "relaxes structures",
        "stress": "gives stresses, so that cells relax",
        "batched": "predicts many structures at once",
    },
    "generator": {"fit": "learns from the entries of a node"},
}
"""Words of :attr:`Family.capabilities`, by role."""


@dataclass(frozen=True)
class Loader:
    """What reads the checkpoints of one family.

    Attributes
    ----------
    family : str
    role : {"force_field", "generator"}
    format : str
        The only one that it reads.
    place : str
        ``package.module:Class``.
    runs_code : bool
        Whether reading a checkpoint can run code of whoever wrote it: pickles, and configurations that name what to construct.
        Such a checkpoint is loaded only if it was computed here or is trusted by its sha256. Other loaders check what they read.
    published : mapping
        Checkpoints that only name published weights, name to sha256: trusted, whoever sends them.
    sources : tuple of str
        Places whose published weights this family reads without a question; the runner is told of them.
    """

    family: str
    role: Role
    format: str
    place: str
    runs_code: bool = True
    published: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.family} {self.format} ({self.role.replace('_', ' ')})"


@dataclass(frozen=True)
class Weights:
    """Published weights of a force field.

    Attributes
    ----------
    energy_scale : str
        Scale of its energies: ``mp2020``, ``pbe``, ``r2scan``, ``omat24``, …; energies of two scales never meet in one hull.
    functional : str
        Of the data that it was trained on; empty if it is not known, and then it cannot be a teacher.
    anion_corrected : bool
        Whether its energies hold the MP2020 anion correction.
    licence : str
    source : str
        Where a user gets them.
    data : str
        Names of the data sets that it was trained on, joined by ``+``; empty if that is not known.
    """

    energy_scale: str
    functional: str = ""
    anion_corrected: bool = False
    licence: str = ""
    source: str = ""
    data: str = ""


@dataclass(frozen=True)
class ExternalFamily:
    """A model family that is run as a subprocess, in an environment of its own.

    Attributes
    ----------
    name : str
        As in a node's configuration.
    runner : Path
        Script that does the family's tasks; it imports nothing of coevo but ``coevo_runner``, which lies beside it when it runs.
    requirements : Path
        Pins of everything in the environment, direct and indirect, in pip's format.
    companions : tuple of Path
        Modules that the runner imports, copied beside it.
    extra : str
        Extra of coevo that installs the pins in coevo's own environment: where it has them all, its interpreter runs the family
        without more ado. Empty where the pins cannot share it.
    checkouts : tuple of Checkout
        Repositories that the family runs from, which a user checks out: the runner is told where each is.
    """

    name: str
    runner: Path
    requirements: Path
    companions: tuple[Path, ...] = ()
    extra: str = ""
    checkouts: tuple[Checkout, ...] = ()

    def pins(self) -> list[str]:
        """The requirements, one a line, without comments.

        Raises
        ------
        ConfigError
            If the file cannot be read or a line is no pin of a version.
        """
        try:
            lines = self.requirements.read_text(encoding="utf-8").splitlines()
        except OSError as err:
            raise ConfigError(
                f"family {self.name}: its requirements cannot be read: {self.requirements}: {err.strerror}"
            ) from None
        pins = [text for line in lines if (text := line.partition("#")[0].strip())]
        for text in pins:
            if "==" not in text or text.startswith("-"):
                raise ConfigError(f"{self.requirements}: got {text!r}, allowed: NAME==VERSION, one a line")
        return pins

    def digest(self) -> str:
        """Twelve hexadecimal digits of the pins: another set, another digest."""
        return hashlib.sha256("\n".join(sorted(self.pins())).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Family:
    """A family of force fields or generators.

    Attributes
    ----------
    loader : Loader
        Name, role, checkpoint format, and whether reading a checkpoint can run code.
    title : str
        As people write it.
    summary : str
        One line, for tables and the command line.
    packages : tuple of str
        Distributions of coevo's own environment whose versions change the numbers: they enter the keys of jobs.
    environment : ExternalFamily, optional
        The environment of its own, whose pinned versions enter the keys of jobs as well.
    environment_packages : tuple of str
        Those of its distributions that do.
    weights : mapping of str to Weights
        Published weights by name, of a force field.
    default_weights : str
    own_files : mapping of str to Weights
        Scales that a model file of a user's own may be on, if the family reads one.
    devices : tuple of str
        ``cpu``, ``cuda``.
    elements : frozenset of str, optional
        Symbols that it knows; None: whatever it is taught.
    capabilities : frozenset of str
        Words of :data:`CAPABILITIES`.
    get : str
        What a user does to have it.
    licence : str
        Of the code.
    in_workers : tuple of str
        Modules that coevo's worker processes import to do the family's work on CPUs. Jobs with such a family run side by side in
        threads of one process (:mod:`coevo.campaigns.local_manager`); ``sample`` of such a generator takes ``workers``. Empty:
        the family uses the machine in its own way, and its jobs run alone.
    weights_in : tuple of str
        Where its published weights are looked for, for people; what ``weights`` and the loader say by default.
    checkpoint_bytes : int
        About, for plans.
    gpu_seconds : mapping of str to float
        Seconds per item of the steps that want a GPU, for plans.
    """

    loader: Loader
    title: str
    summary: str = ""
    packages: tuple[str, ...] = ()
    environment: ExternalFamily | None = None
    environment_packages: tuple[str, ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    default_weights: str = ""
    own_files: Mapping[str, Weights] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    elements: frozenset[str] | None = None
    capabilities: frozenset[str] = frozenset()
    get: str = ""
    licence: str = ""
    in_workers: tuple[str, ...] = ()
    weights_in: tuple[str, ...] = ()
    checkpoint_bytes: int = 0
    gpu_seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(self.capabilities - CAPABILITIES[self.role].keys())
        if unknown:
            raise ConfigError(
                f"family {self.name}: got capabilities {', '.join(unknown)}, allowed: {', '.join(CAPABILITIES[self.role])}"
            )
        if self.role == "force_field" and self.default_weights not in self.weights:
            raise ConfigError(
                f"family {self.name}: got default_weights {self.default_weights!r}, allowed: one of its weights, "
                f"{', '.join(self.weights) or 'of which it names none'}"
            )

    @property
    def name(self) -> str:
        """As in a configuration."""
        return self.loader.family

    @property
    def role(self) -> Role:
        """What a state has a checkpoint of this family for."""
        return self.loader.role

    def can(self, capability: str) -> bool:
        """Whether the family has a capability."""
        return capability in self.capabilities

    def environment_versions(self) -> dict[str, str]:
        """Versions that its environment pins, of the packages that change the numbers; empty without one.

        Beside them the first tested commit of each checkout, by its name.
        """
        if self.environment is None:
            return {}
        pins = dict(pin.split("==", 1) for pin in self.environment.pins())
        pinned = {name: pins[name] for name in self.environment_packages if name in pins}
        return pinned | {checkout.name: checkout.commits[0] for checkout in self.environment.checkouts}

    def version(self) -> str:
        """Version of the family's own package: the first that its environment pins, else the first that is installed here.

        Raises
        ------
        PackageNotFoundError
            If that is not installed.
        """
        if self.environment is not None:
            return next(iter(self.environment_versions().values()), "")
        from importlib.metadata import version

        return version(self.packages[0]) if self.packages else ""

    def places_of_weights(self) -> tuple[str, ...]:
        """Where published weights are looked for, as people read it, each place once."""
        told = self.weights_in or [weights.source for weights in self.weights.values() if weights.source]
        return tuple(dict.fromkeys(told or self.loader.sources))

    def weights_named(self, text: str) -> Weights | None:
        """What is known of weights by their name, or of a file of the user's own (:mod:`coevo.families.weights_files`)."""
        file = weights_file(text)
        return self.weights.get(text) if file is None else self.own_files.get(file.scale)

    def weights_allowed(self) -> str:
        """What :meth:`weights_named` knows, for messages."""
        names = ", ".join(self.weights)
        return f"{names}, or {'|'.join(self.own_files)}:/PATH/OF/A/FILE" if self.own_files else names

    def weights_on(self, energy_scale: str) -> list[str]:
        """Names of the weights whose energies are on a scale."""
        return [name for name, weights in self.weights.items() if weights.energy_scale == energy_scale]
