"""The section ``generator`` of a configuration: how candidates are generated, and what each family of generators takes."""

from __future__ import annotations

import re
from fractions import Fraction as Exact
from math import ceil, floor
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from coevo.configs.depth_section import DepthConfig
from coevo.configs.section import Fraction, Local, Positive, Section
from coevo.families import (
    DEFAULT_GENERATOR,
    GENERATOR_GROUP,  # noqa: F401  (job documents and other packages know it by this module)
    built_in,
    is_known,
    names_of,
)

GENERATOR_FAMILIES = tuple(sorted(built_in("generator")))
"""Families of generators that come with coevo; others are found by their entry points."""


def _is_a_path(weights: Any) -> bool:
    """Whether weights are a directory; the names of published ones have no slash."""
    return not isinstance(weights, str) or "/" in weights


def _is_of_another_package(family: Any) -> bool:
    return family not in GENERATOR_FAMILIES


def _names_another_package(mixture: Any) -> bool:
    return not isinstance(mixture, dict) or any(map(_is_of_another_package, mixture))


MOST_GENERATORS = 16
"""Families that can generate side by side in one node."""
MOST_WEIGHT = 1e9
"""Of one family: weights are shares, and their sum is a number."""


class MatterGenConfig(Section):
    """MatterGen: where it starts, how it samples, how it is fine-tuned. Used with ``generator.family: mattergen`` only."""

    weights: Annotated[str, Local("a model directory is read", _is_a_path)] = Field(
        default="chemical_system_energy_above_hull",
        pattern=r"^[A-Za-z0-9_.~/ -]+$",
        description="published weights by name, a model directory (a path with a /), or small: an untrained model for tests",
    )
    guidance_factor: float = Field(default=2.0, ge=0.0, le=20.0, description="weight of the conditions; 0 ignores them")
    batch_size: int = Field(default=64, ge=1, le=4096, description="structures denoised together; halved when memory runs out")
    oversampling: float = Field(default=1.5, ge=1.0, le=10.0, description="draws per candidate, at most, to replace dropped ones")
    epochs: int = Field(default=20, ge=1, le=10_000, description="passes over the training examples of one fit, at most")
    learning_rate: Positive = Field(default=5e-6, le=0.1, description="of Adam; a small model trained from scratch needs 1e-3")
    train_batch_size: int = Field(default=32, ge=1, le=4096, description="examples of one gradient step")
    patience: int = Field(default=5, ge=1, description="epochs without a better validation loss before stopping")
    validation_fraction: float = Field(
        default=0.1, gt=0.0, le=0.5, description="share of examples for early stopping, by their ids"
    )
    hidden: int = Field(default=48, ge=8, le=512, description="width of the small model")
    blocks: int = Field(default=2, ge=1, le=6, description="interaction blocks of the small model")
    steps: int = Field(default=100, ge=10, le=1000, description="noise levels of the small model")


class ChemeleonConfig(Section):
    """Chemeleon-DNG: where it starts, how it samples and is fitted. Used with ``generator.family: chemeleon-dng`` only."""

    weights: Annotated[str, Local("a model file is read", _is_a_path)] = Field(
        default="fresh",
        pattern=r"^[A-Za-z0-9_.~/ -]+$",
        description="fresh: an untrained network, trained by the node; published weights by name, or their file (a path with /)",
    )
    new_compositions: Fraction = Field(
        default=0.2, description="share of draws with a composition that no example need have, where none is asked for"
    )
    bounded_cells: bool = Field(default=True, description="hold the cells that denoising aims at within bounds of the examples'")
    batch_size: int = Field(default=64, ge=1, le=4096, description="structures denoised together; halved when memory runs out")
    oversampling: float = Field(default=1.5, ge=1.0, le=10.0, description="draws per candidate, at most, to replace dropped ones")
    epochs: int = Field(default=100, ge=1, le=10_000, description="passes over the training examples of one fit, at most")
    learning_rate: Positive = Field(default=1e-3, le=0.1, description="of Adam; 1e-4 for published weights")
    train_batch_size: int = Field(default=32, ge=1, le=4096, description="examples of one gradient step")
    patience: int = Field(default=15, ge=1, description="epochs without a better validation loss before stopping")
    validation_fraction: float = Field(
        default=0.1, gt=0.0, le=0.5, description="share of examples for early stopping, by their ids; at least one"
    )
    hidden: int = Field(default=128, ge=8, le=1024, multiple_of=2, description="width of a fresh network")
    layers: int = Field(default=4, ge=1, le=16, description="message-passing layers of a fresh network")
    steps: int = Field(default=256, ge=10, le=2000, description="noise levels of a fresh network")


class DiffCSPConfig(Section):
    """DiffCSP: where it starts, how it samples, how it is trained. Used with ``generator.family: diffcsp`` only."""

    weights: Annotated[str, Local("a model directory is read, by pickle", _is_a_path)] = Field(
        default="scratch",
        pattern=r"^[A-Za-z0-9_.~/ -]+$",
        description="scratch: a network that the node trains from nothing; or a model directory of DiffCSP's (a path with a /)",
    )
    batch_size: int = Field(default=32, ge=1, le=4096, description="structures denoised together; halved when memory runs out")
    oversampling: float = Field(default=1.5, ge=1.0, le=10.0, description="draws per candidate, at most, to replace dropped ones")
    new_compositions: Fraction = Field(
        default=0.2, description="share of draws of compositions that no example has, where generator.compositions asks for none"
    )
    step_lr: Positive = Field(default=1e-5, le=0.1, description="step of the corrector of positions")
    epochs: int = Field(default=200, ge=1, le=10_000, description="passes over the training examples of one fit, at most")
    learning_rate: Positive = Field(default=1e-3, le=0.1, description="of Adam; published weights are fine-tuned with less, 1e-4")
    train_batch_size: int = Field(default=32, ge=1, le=4096, description="examples of one gradient step")
    patience: int = Field(default=30, ge=1, description="epochs without a better validation loss before stopping")
    validation_fraction: float = Field(
        default=0.1, gt=0.0, le=0.5, description="share of examples for early stopping, by their ids"
    )
    hidden: int = Field(default=512, ge=8, le=4096, description="width of the network from scratch")
    layers: int = Field(default=6, ge=1, le=64, description="layers of the network from scratch")
    frequencies: int = Field(default=128, ge=1, le=1024, description="frequencies of distances, of the network from scratch")
    steps: int = Field(default=1000, ge=10, le=10_000, description="noise levels of the network from scratch")
    schedule: Literal["cosine", "linear"] = Field(
        default="cosine", description="noise of the cell, of the network from scratch; cosine is DiffCSP's, linear forgives more"
    )

    @field_validator("weights")
    @classmethod
    def _scratch_or_path(cls, value: str) -> str:
        if value != "scratch" and "/" not in value:
            raise ValueError(f"got {value!r}, allowed: scratch, or the path of a model directory, with a /")
        return value


class Uni3darConfig(Section):
    """Uni-3DAR: where it starts, how it samples, how it is fine-tuned. Used with ``generator.family: uni3dar`` only."""

    weights: Annotated[str, Local("a file of a model is read, by unpickling it, or a model directory", _is_a_path)] = Field(
        default="small",
        pattern=r"^[A-Za-z0-9_.~/ -]+$",
        description="a published file (a path with a /, such as ./mp20.pt), a model directory, or small: an untrained network",
    )
    batch_size: int = Field(default=64, ge=1, le=4096, description="crystals drawn together; halved when memory runs out")
    oversampling: float = Field(default=3.0, ge=1.0, le=50.0, description="draws per candidate, at most, to replace dropped ones")
    temperature: Positive = Field(default=0.9, le=5.0, description="of elements and of places within a grid cell")
    rank_ratio: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="share of a batch's crystals that is kept, the likeliest; 0.32 in its own scripts",
    )
    wall: Positive = Field(default=900.0, le=86_400.0, description="seconds that one batch of draws may take")
    epochs: int = Field(default=20, ge=1, le=10_000, description="passes over the training examples of one fit, at most")
    learning_rate: Positive = Field(default=2e-5, le=0.1, description="of Adam; a small network from nothing needs 1e-3")
    train_batch_size: int = Field(default=16, ge=1, le=4096, description="examples of one gradient step")
    ema_decay: float = Field(
        default=0.999, gt=0.0, lt=1.0, description="of the averaged weights that are kept; less in a fit of few steps"
    )
    augmentation: Fraction = Field(
        default=0.5, description="share of examples that a step turns, and of those it shifts, at random"
    )
    patience: int = Field(default=5, ge=1, description="epochs without a better validation loss before stopping")
    validation_fraction: float = Field(
        default=0.1, gt=0.0, le=0.5, description="share of examples for early stopping, by their ids"
    )
    hidden: int = Field(default=64, ge=16, le=1024, description="width of the small network, a multiple of 8 times heads")
    heads: int = Field(default=4, ge=1, le=16, description="attention heads of the small network")
    layers: int = Field(default=2, ge=1, le=24, description="layers of the small network")
    levels: int = Field(default=8, ge=5, le=8, description="levels of the small network's octree: 2^levels times 0.24 Å an edge")

    @field_validator("weights")
    @classmethod
    def _small_or_a_path(cls, value: str) -> str:
        if value != "small" and "/" not in value:
            raise ValueError(f"got {value!r}, allowed: small, or a path with a /, such as ./mp20.pt")
        return value

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden % (8 * self.heads):
            raise ValueError(f"got hidden: {self.hidden}, allowed with heads: {self.heads}: a multiple of {8 * self.heads}")
        return self

    @model_validator(mode="after")
    def _enough_draws_for_the_rank(self) -> Self:
        if self.oversampling * self.rank_ratio < 1.0:
            raise ValueError(
                f"got oversampling: {self.oversampling:g}, allowed with rank_ratio: {self.rank_ratio:g}: "
                f"{ceil(1e3 / self.rank_ratio) / 1e3:g} and more, since only that share of all draws is kept"
            )
        return self


class AditConfig(Section):
    """ADiT: where it starts, how it samples, how it is fitted. Used with ``generator.family: adit`` only."""

    weights: Annotated[str, Local("model files in a folder are read, which can run code", _is_a_path)] = Field(
        default="new",
        pattern=r"^(new|[A-Za-z0-9_.~ -]*/[A-Za-z0-9_.~/ -]*)$",
        description="new: a model that the node trains from scratch; or a folder with ADiT's checkpoints (a path with a /)",
    )
    guidance_factor: float = Field(default=2.0, ge=0.0, le=20.0, description="weight of being told that it is a crystal")
    steps: int = Field(default=100, ge=2, le=2000, description="steps from noise to a crystal")
    batch_size: int = Field(default=64, ge=1, le=4096, description="structures drawn together; halved when memory runs out")
    oversampling: float = Field(default=2.0, ge=1.0, le=20.0, description="draws per candidate, at most, to replace dropped ones")
    epochs: int = Field(default=200, ge=1, le=100_000, description="passes of the diffusion model over the examples of one fit")
    vae_epochs: int = Field(default=1000, ge=1, le=100_000, description="passes of the autoencoder, where elements are new to it")
    learning_rate: Positive = Field(default=1e-4, le=0.1, description="of AdamW; a small model needs 2e-3")
    train_batch_size: int = Field(default=32, ge=2, le=4096, description="examples of one gradient step")
    patience: int = Field(default=30, ge=1, description="epochs without a better validation loss before stopping")
    validation_fraction: float = Field(
        default=0.1, gt=0.0, le=0.5, description="share of examples for early stopping, by their ids"
    )
    vae_width: int = Field(default=512, ge=16, le=2048, multiple_of=8, description="width of a new autoencoder")
    vae_layers: int = Field(default=8, ge=1, le=24, description="layers of its encoder, and of its decoder")
    width: int = Field(default=384, ge=16, le=2048, multiple_of=8, description="width of a new diffusion model")
    layers: int = Field(default=12, ge=1, le=48, description="its layers")


class GeneratorConfig(Section):
    """How candidates are generated."""

    family: Annotated[str, Local("code of an installed package is run", _is_of_another_package)] = Field(
        default=DEFAULT_GENERATOR.name,
        pattern=r"^[a-z][a-z0-9-]{0,39}$",
        description="; ".join(
            [
                f"{DEFAULT_GENERATOR.name}: {DEFAULT_GENERATOR.summary}",
                *(name for name in GENERATOR_FAMILIES if name != DEFAULT_GENERATOR.name),
                "or a family of another package",
            ]
        ),
    )
    mixture: Annotated[dict[str, float], Local("code of installed packages is run", _names_another_package)] = Field(
        default_factory=dict,
        description="several generators: families, that of family among them, with the weights of their shares of the "
        "candidates; empty: family alone",
    )
    candidates: int = Field(default=10_000, ge=1, le=1_000_000, description="candidates per iteration")
    shard_size: int = Field(default=500, ge=1, le=10_000, description="candidates per job")
    max_atoms: int = Field(default=20, ge=1, le=200, description="atoms per cell, at most")
    compositions: tuple[str, ...] = Field(default=(), description="formulas to generate; empty: the generator's own distribution")
    target_energy_above_hull: float = Field(default=0.0, ge=0.0, le=5.0, description="condition given to the generator, eV/atom")
    subsystem_fraction: Fraction = Field(default=0.25, description="share of candidates drawn in proper sub-systems")
    variation_fraction: Fraction = Field(default=0.4, description="share made by varying good parents, once there are some")
    unit_fraction: Fraction = Field(default=0.6, description="share of random crystals built from anion units, once known")
    unit_sites: Literal["any", "special"] = Field(
        default="any",
        description="where units go: any position, or special ones that have symmetry of theirs, in groups of low order",
    )
    electron_excess_share: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="share of a job's candidates with more electrons than their elements can take, at most; no limit if null",
    )
    racing: int = Field(
        default=1,
        ge=1,
        le=100,
        description="draws per candidate: the best of each formula at a first look are relaxed; 1: no race",
    )
    racing_steps: int = Field(
        default=10, ge=0, le=1000, description="relaxation steps before that look; 0: the draws as they are"
    )
    generations: int = Field(
        default=1,
        ge=1,
        le=20,
        description="parts of an iteration, between which the embedded generator is fitted on what was relaxed so far",
    )
    safe_parents: bool = Field(
        default=False, description="no fit on entries that are refuted, in doubt, disputed or have an electron excess"
    )
    fit: bool = Field(default=True, description="refit the generator after each iteration")
    fit_max_e_hull: Positive = Field(default=0.3, le=5.0, description="examples above this E_hull have no weight, eV/atom")
    options: Annotated[tuple[str, ...], Local("they are handed to the runner of a family")] = Field(
        default=(), description="settings of a family that is not coevo's own, such as steps = 500, handed to its runner"
    )
    depth: DepthConfig = Field(default_factory=DepthConfig)
    mattergen: MatterGenConfig = Field(default_factory=MatterGenConfig)
    chemeleon_dng: ChemeleonConfig = Field(default_factory=ChemeleonConfig)
    diffcsp: DiffCSPConfig = Field(default_factory=DiffCSPConfig)
    uni3dar: Uni3darConfig = Field(default_factory=Uni3darConfig)
    adit: AditConfig = Field(default_factory=AditConfig)

    def not_in_use(self) -> frozenset[str]:
        """Sections of families that do not generate, and what says something of a race only; ``depth`` is of the embedded one."""
        sections = {name for name, value in self if isinstance(value, Section)}
        used = {family.replace("-", "_") for family in self.families}
        unused = sections - used - ({"depth"} if DEFAULT_GENERATOR.name in used else set())
        return frozenset(unused if self.racing > 1 else unused | {"racing_steps"})

    @property
    def families(self) -> tuple[str, ...]:
        """The families that generate: ``family`` first, then the others of the mixture by name."""
        return (self.family, *sorted(set(self.mixture) - {self.family}))

    def of_family(self, family: str) -> Self:
        """The section as it is for one family of the mixture: that of a node in which it generates alone.

        Where formulas come into focus, the number of candidates is that of the family, since its draws are shared among these.
        """
        own: dict[str, Any] = {"family": family, "mixture": {}}
        if self.depth.in_use and family == DEFAULT_GENERATOR.name:
            own["candidates"] = max(1, self.shares().get(family, self.candidates))
        return self.model_copy(update=own)

    def shares(self) -> dict[str, int]:
        """Candidates of each family, by their weights; what is left goes to the largest remainders, at a tie to the first.

        Returns
        -------
        dict
            In the order of ``families``; together ``candidates``.
        """
        weights = {family: Exact(self.mixture.get(family, 0.0 if self.mixture else 1.0)) for family in self.families}
        total = sum(weights.values())
        exact = {family: self.candidates * weight / total for family, weight in weights.items()}
        found = {family: floor(share) for family, share in exact.items()}
        by_remainder = sorted(found, key=lambda family: found[family] - exact[family])  # stable: ties stay in order
        for family in by_remainder[: self.candidates - sum(found.values())]:
            found[family] += 1
        return found

    @property
    def own_section(self) -> Section | None:
        """The section of the family that generates, if it has one."""
        found = getattr(self, self.family.replace("-", "_"), None)
        return found if isinstance(found, Section) else None

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if not is_known(value, "generator"):
            allowed = ", ".join(names_of("generator"))
            raise ValueError(f"got {value!r}, allowed: {allowed}, or a family whose package is installed (docs/generators.md)")
        return value

    @field_validator("mixture", mode="before")
    @classmethod
    def _no_boolean_for_a_weight(cls, value: Any) -> Any:
        wrong = [name for name, weight in value.items() if isinstance(weight, bool)] if isinstance(value, dict) else []
        if wrong:
            raise ValueError(f"got {wrong[0]}: {str(value[wrong[0]]).lower()}, allowed: a number; a boolean is no weight")
        return value

    @field_validator("mixture")
    @classmethod
    def _known_families(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if not value:
            return value
        if unknown := sorted(family for family in value if not is_known(family, "generator")):
            raise ValueError(
                f"got {unknown[0][:80]!r}, allowed: {', '.join(names_of('generator'))}, or a family whose package is installed "
                "(docs/generators.md)"
            )
        if len(value) > MOST_GENERATORS:
            raise ValueError(f"got {len(value)} families, allowed: {MOST_GENERATORS} at most")
        if negative := sorted(family for family, weight in value.items() if weight < 0):
            raise ValueError(f"got {negative[0]}: {value[negative[0]]:g}, allowed: weights of 0 and more")
        if large := sorted(family for family, weight in value.items() if weight > MOST_WEIGHT):
            raise ValueError(f"got {large[0]}: {value[large[0]]:g}, allowed: weights up to {MOST_WEIGHT:g}")
        if not sum(value.values()):
            raise ValueError("got weights that are all 0, allowed: one at least that is larger")
        family = info.data.get("family")  # missing where it is not valid itself
        if family is not None and family not in value:
            raise ValueError(
                f"got {', '.join(sorted(value))}, without {family}, which generator.family says; allowed: a mixture with that "
                "family among its own (a weight of 0 lets it draw nothing), or generator.family: one of these"
            )
        return dict(sorted(value.items()))

    @model_validator(mode="after")
    def _breeds_where_a_fit_is_cheap(self) -> Self:
        if self.generations == 1:
            return self
        if self.families != (DEFAULT_GENERATOR.name,):
            raise ValueError(
                f"got generations: {self.generations} with {', '.join(self.families)}, allowed: 1, or the family "
                f"{DEFAULT_GENERATOR.name} alone: it is fitted in seconds, others take too long to be fitted within an iteration"
            )
        if not self.fit:
            raise ValueError(f"got generations: {self.generations} with fit: false, allowed: 1, since nothing is fitted")
        if self.generations > self.candidates:
            raise ValueError(
                f"got generations: {self.generations}, allowed: at most as many as generator.candidates, {self.candidates}"
            )
        return self

    @field_validator("options")
    @classmethod
    def _option_lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [option.partition("=")[0].strip() for option in value]
        for option, name in zip(value, names, strict=True):
            if "=" not in option or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{option!r} is no setting; allowed: NAME = VALUE")
        if len(set(names)) != len(names):
            raise ValueError(f"a setting is repeated in {list(value)}; give each one once")
        return value
