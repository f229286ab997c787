"""The table of loaders: what is installed decides, whatever a checkpoint says of itself."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap

import pytest

from coevo.errors import CheckpointError, ConfigError
from coevo.families import BUILT_IN, FAMILIES, Family, Loader, Weights, descriptor_of, find_loader, loader_of
from coevo.models.registry import generator_from


def test_what_the_table_says_is_what_the_classes_say():
    from importlib import import_module

    for loader in BUILT_IN:
        module, _, name = loader.place.partition(":")
        cls = getattr(import_module(module), name)
        assert (cls.family, cls.format) == (loader.family, loader.format)
        assert find_loader(loader.family, loader.format, loader.role) is loader


def test_the_published_checkpoints_of_mattergen_are_those_that_it_writes(tmp_path):
    from coevo.configs.tree import GeneratorConfig, MatterGenConfig
    from coevo.models.external.mattergen import MatterGenGenerator

    published = loader_of("mattergen", "generator").published
    assert MatterGenConfig().weights in published
    for name, sha256 in published.items():
        path = tmp_path / name
        MatterGenGenerator.initial(GeneratorConfig(mattergen={"weights": name})).save(path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_asking_imports_no_model():
    script = "import sys; from coevo.families import find_loader; find_loader('chgnet', 'safetensors', 'force_field'); "
    script += "find_loader('mattergen', 'model-tar-1', 'generator'); "
    script += "print([m for m in sys.modules if m.startswith(('torch', 'coevo.models', 'coevo.configs', 'pydantic'))])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install families of other packages, from the source of their classes."""

    def install(group: str = "coevo.generators", **sources: str) -> None:
        information = tmp_path / "site" / "others-1.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
        points = [f"{name} = others_{name}:Family\n" for name in sources]
        (information / "entry_points.txt").write_text(f"[{group}]\n" + "".join(points))
        for name, source in sources.items():
            (tmp_path / "site" / f"others_{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    yield install
    for name in [name for name in sys.modules if name.startswith("others_")]:
        del sys.modules[name]


def test_families_of_other_packages_say_it_in_their_own_class(installed):
    installed(
        silent="class Family:\n    family, format = 'silent', 'x-1'\n",
        harmless="class Family:\n    family, format, runs_code = 'harmless', 'x-1', False\n",
        heir="""
            from others_harmless import Family as Harmless
            class Family(Harmless):
                family = 'heir'
                @classmethod
                def load(cls, path, settings=None): ...
        """,
        vague="class Family:\n    family, format, runs_code = 'vague', 'x-1', 0\n",
        broken="raise RuntimeError('no GPU')\n",
        other="class Family:\n    family, format = 'another', 'x-1'\n",
        embedded="class Family:\n    family, format, runs_code = 'embedded', 'pickle', False\n",
    )
    assert loader_of("silent", "generator").runs_code
    assert not loader_of("harmless", "generator").runs_code
    assert loader_of("heir", "generator").runs_code
    assert loader_of("vague", "generator").runs_code
    assert loader_of("embedded", "generator").format == "json"
    for name, message in (("broken", "RuntimeError: no GPU"), ("other", "does not say this family")):
        with pytest.raises(CheckpointError, match=message):
            loader_of(name, "generator")
    with pytest.raises(CheckpointError, match="reads 'x-1' only"):
        find_loader("silent", "json", "generator")
    with pytest.raises(CheckpointError, match="family of generators and cannot be a force field"):
        loader_of("harmless", "force_field")


def test_a_loader_that_can_run_code_is_not_called_without_trust(installed, tmp_path):
    installed(
        pickles="""
            import pickle
            class Family:
                family, format = 'pickles', 'pickle'
                @classmethod
                def load(cls, path, settings=None):
                    return pickle.loads(path.read_bytes())
        """
    )
    marker, checkpoint = tmp_path / "marker", tmp_path / "checkpoint"
    checkpoint.write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(CheckpointError, match="can run code of whoever made it, and nobody said that it is trusted"):
        generator_from("pickles", checkpoint)
    assert not marker.exists()
    generator_from("pickles", checkpoint, trusted=True)
    assert marker.exists()


def test_descriptors_say_what_the_models_say():
    from coevo.configs.element_lists import ELEMENT_SYMBOLS
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.chgnet.weights import PUBLISHED

    chgnet = descriptor_of("chgnet", "force_field")
    assert {name: (w.energy_scale, w.functional) for name, w in chgnet.weights.items()} == {
        name: (scale, functional) for name, (_, scale, functional) in PUBLISHED.items()
    }
    assert len(chgnet.elements) == len(ChgnetForceField.atomic_numbers)
    assert chgnet.elements <= ELEMENT_SYMBOLS
    assert chgnet.weights_on("mp2020") == ["0.2.0", "0.3.0"]
    assert len({(family.name, family.role) for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.get
        assert family.licence
        assert family.checkpoint_bytes
        if family.environment is not None:
            checkouts = {checkout.name for checkout in family.environment.checkouts}
            assert set(family.environment_versions()) == {*family.environment_packages, *checkouts}


def test_a_descriptor_that_contradicts_itself_is_refused():
    loader = Loader("metal", "force_field", "json", "m:C")
    with pytest.raises(ConfigError, match="got capabilities fly, allowed: fit, watch, relax, stress, batched"):
        Family(loader, title="m", weights={"a": Weights("emt")}, default_weights="a", capabilities=frozenset({"fly"}))
    with pytest.raises(ConfigError, match="got default_weights 'b', allowed: one of its weights, a"):
        Family(loader, title="m", weights={"a": Weights("emt")}, default_weights="b")


def test_force_fields_of_other_packages_are_descriptors(installed):
    head = "from coevo.families import Family as F, Loader, Weights\n"
    row = "Family = F(Loader('{0}', '{1}', 'x-1', 'm:C'), title='m', weights={{'a': Weights('emt')}}, default_weights='a')\n"
    installed(
        "coevo.force_fields",
        metal=head + row.format("metal", "force_field"),
        liar=head + row.format("metal", "force_field"),
        role=head + row.format("role", "generator"),
        bare="class Family:\n    family, format = 'bare', 'x-1'\n",
        chgnet=head + row.format("chgnet", "force_field"),
    )
    assert loader_of("metal", "force_field").runs_code
    assert descriptor_of("metal", "force_field").weights_on("emt") == ["a"]
    assert loader_of("chgnet", "force_field").format == "safetensors"
    for name, message in (
        ("liar", "describes metal as a force field; its entry point must say the same"),
        ("role", "describes role as a generator"),
        ("bare", "is no coevo.families.Family, got type"),
    ):
        with pytest.raises(CheckpointError, match=message):
            loader_of(name, "force_field")
    with pytest.raises(CheckpointError, match="metal is a family of force fields and cannot be a generator"):
        loader_of("metal", "generator")
