"""The labelling code of docs/examples as an installed package: found by its entry point, and through the contract suite."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labeller_contract import LabellerContract

from coevo.configs.describing import local_values
from coevo.configs.loading import parse_config
from coevo.configs.tree import LabellingConfig
from coevo.errors import ConfigError, LabellingError
from coevo.labelling import registry
from coevo.makers.labels.settings import labeller_for

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "pair-labels"
NODE = "node: {name: a, elements: [Li, S], references: li-p-s}\nlabelling: {code: pair-potential, max_force: 200.0}\n"


@pytest.fixture(scope="class")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What pip would make of the example's pyproject.toml."""
    directory = tmp_path_factory.mktemp("installed")
    information = directory / "coevo_pair_labels-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coevo-pair-labels\nVersion: 1.0\n")
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["coevo.labellers"]
    (information / "entry_points.txt").write_text("[coevo.labellers]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        patch.syspath_prepend(str(directory))
        yield


@pytest.mark.usefixtures("installed")
class TestExample(LabellerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def labeller(cls, installed: None) -> Any:
        return labeller_for(parse_config(NODE, "x.yaml").labelling, elements=["Li", "S"])

    def test_everything_that_asks_for_codes_knows_it(self) -> None:
        assert registry.options()["pair-potential"] == "pair-potential"
        assert ("pair potential", "ok") in {(found.what, found.condition) for found in registry.found_here()}
        labelling = parse_config(NODE, "x.yaml").labelling
        assert registry.seconds_of_frame(labelling) == 0.01
        assert registry.described({"code": "pair-potential"}) == "pair-potential"
        assert registry.configured(LabellingConfig(), "pair-potential").code == "pair-potential"
        # it is a package of the machine, so a bundle that names it asks first
        assert local_values(parse_config(NODE, "x.yaml").model_dump(mode="json"))["labelling.code"] == "pair-potential"

    def test_its_labels_say_whether_they_are_of_first_principles(self, labeller: Any) -> None:
        assert registry.says_first_principles(labeller, "pair-potential") == {"first_principles": False}
        assert registry.is_first_principles({"code": "pair-potential", "first_principles": True})
        assert not registry.is_first_principles({"code": "pair-potential"})

    def test_it_is_refused_where_only_first_principles_may_label(self) -> None:
        section = LabellingConfig(code="pair-potential", allow_teacher=False)
        with pytest.raises(LabellingError, match=r"labelling\.code: got pair-potential, whose labels are no first-pr"):
            labeller_for(section)
        with pytest.raises(ConfigError, match=r"--labeller: got pair-potential, of which nothing says .* a code of first"):
            registry.configured(LabellingConfig(code="vasp", allow_teacher=False), "pair-potential")
        assert not registry.makes_first_principles(section)

    def test_arguments_are_its_own(self) -> None:
        with pytest.raises(LabellingError, match=r"labelling\.arguments: got colour, allowed: sigma, epsilon, rc"):
            labeller_for(LabellingConfig(code="pair-potential", arguments={"colour": 1}))


def test_where_it_is_not_installed_its_name_is_an_error_and_its_labels_are_read() -> None:
    with pytest.raises(ConfigError, match=r"labelling\.code: got pair-potential, allowed: teacher, espresso, vasp, maker"):
        parse_config(NODE, "x.yaml")
    assert registry.is_first_principles({"code": "pair-potential", "first_principles": True})
    assert registry.by_element("pair-potential") == ""


@pytest.mark.parametrize(
    ("code", "said"), [("teacher", False), ("espresso", True), ("vasp", True), ("imported", True), ("maker", False)]
)
def test_labels_of_an_earlier_version_say_it_by_their_code(code: str, said: bool) -> None:
    assert registry.is_first_principles({"code": code}) is said


def test_the_command_line_names_codes_that_there_are() -> None:
    assert registry.options() == {"teacher": "teacher", "qe": "espresso", "vasp": "vasp", "maker": "maker"}
    with pytest.raises(ConfigError, match="--labeller: got crystal, allowed: teacher, qe, vasp, maker"):
        registry.configured(LabellingConfig(), "crystal")


def test_the_page_shows_the_files_that_the_tests_run() -> None:
    page = (DOCS / "labels.md").read_text(encoding="utf-8").partition("## A labelling code of your own")[2]
    blocks = re.findall(r"```(?:toml|python)\n(.*?)```", page, flags=re.DOTALL)
    for name in ("pyproject.toml", "pair_labels/__init__.py"):
        assert (EXAMPLE / name).read_text(encoding="utf-8") in blocks
