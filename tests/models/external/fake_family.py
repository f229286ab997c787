"""A family of force fields for the tests, whose environment is this interpreter; its runner is ``fake_worker.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from ase.data import atomic_numbers

from coevo.families import ExternalFamily, Family, Loader, Weights
from coevo.models.external.force_field import ExternalForceField

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SYMBOLS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")
FAULTS = [
    "crash",
    "killed",
    "once",
    "hang",
    "garbage",
    "huge",
    "list",
    "nonsense",
    "deep",
    "stale",
    "truncated",
    "mute",
    "refuses",
    "memory",
    "memory-once",
    "tight",
    "tight-host",
    "hopeless",
    "other-scale",
    "raises",
    "nan",
    "shape",
    "no-elements",
    "worsens",
    "boasts",
]

FAMILY = Family(
    Loader("fake", "force_field", "model-tar-1", "fake_family:FakeForceField", runs_code=False),
    title="fake",
    environment=ExternalFamily("fake", HERE / "fake_worker.py", HERE / "fake_requirements.txt"),
    environment_packages=("ase",),
    weights={name: Weights(energy_scale="emt", functional="EMT") for name in ("sound", *FAULTS)},
    default_weights="sound",
    own_files={"emt": Weights("emt", "EMT")},
    elements=frozenset(SYMBOLS),
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
)


class FakeForceField(ExternalForceField):
    """Effective medium theory, from another process."""

    family: ClassVar[str] = "fake"
    external: ClassVar[ExternalFamily] = FAMILY.environment  # type: ignore[assignment]
    atomic_numbers: ClassVar[frozenset[int]] = frozenset(atomic_numbers[symbol] for symbol in SYMBOLS)


def install_fake(directory: Path, patience: int = 600) -> None:
    """Make what pip would make of a package with this family, and describe its environment, below a directory."""
    information = directory / "coevo_fake-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-fake\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[coevo.force_fields]\nfake = fake_family:FAMILY\n")
    environments = directory / "environments"
    environments.mkdir()
    (directory / "markers").mkdir()
    text = f"python: {sys.executable}\npatience: {patience}\nvariables: {{FAKE_MARKERS: {directory / 'markers'}}}\n"
    (environments / "fake.yaml").write_text(text)


@pytest.fixture(scope="class")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The family as an installed package; the directory that it is below."""
    from coevo.models.external.workers import shut_down_model_workers

    directory = tmp_path_factory.mktemp("fake")
    install_fake(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        patch.syspath_prepend(str(HERE))
        patch.setenv("COEVO_ENVIRONMENTS", str(directory / "environments"))
        patch.setenv("COEVO_SCRATCH", str(directory / "scratch"))
        yield directory
    shut_down_model_workers()
