"""The section ``force_field`` of a configuration, wherever one is named: a family and the weights that it starts from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from coevo.configs.section import Local, OneOf, Section
from coevo.errors import CheckpointError
from coevo.families import DEFAULT_FORCE_FIELD, Weights, built_in, descriptor_of, is_known, names_of
from coevo.families.weights_files import is_file


def _is_of_another_package(family: Any) -> bool:
    return family not in built_in("force_field")


class ForceFieldConfig(Section):
    """A force field by family and weights; weights come from a wheel or, after training, from the node's checkpoint."""

    family: Annotated[str, Local("code of an installed package is run", _is_of_another_package)] = Field(
        default=DEFAULT_FORCE_FIELD.name,
        pattern=r"^[a-z][a-z0-9-]{0,39}$",
        description=f"{DEFAULT_FORCE_FIELD.name}: {DEFAULT_FORCE_FIELD.summary}; or a family of another package",
    )
    weights: Annotated[
        str, OneOf(tuple(DEFAULT_FORCE_FIELD.weights)), Local("a model file is read, which can run code", is_file)
    ] = Field(
        default=DEFAULT_FORCE_FIELD.default_weights,
        description="published weights to start from; another family has its own, and a default among them; or a file, as "
        "pbe:/PATH, with the scale of its energies, of a family that reads one",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_weights(cls, data: Any) -> Any:
        """Take the default weights of the family that is named without any."""
        if not isinstance(data, dict) or "weights" in data or not is_known(str(data.get("family")), "force_field"):
            return data
        try:
            return {**data, "weights": descriptor_of(data["family"], "force_field").default_weights}
        except CheckpointError as err:
            raise ValueError(str(err)) from None

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        if not is_known(value, "force_field"):
            allowed = ", ".join(names_of("force_field"))
            raise ValueError(f"got {value!r}, allowed: {allowed}, or a family whose package is installed (docs/force-fields.md)")
        return value

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: str, info: ValidationInfo) -> str:
        if "family" not in info.data:
            return value
        try:
            family = descriptor_of(info.data["family"], "force_field")
        except CheckpointError as err:
            raise ValueError(str(err)) from None
        if family.weights_named(value) is None:
            raise ValueError(f"got {value!r}, allowed: {family.weights_allowed()}")
        return value

    @property
    def told(self) -> Weights:
        """What is known of these weights."""
        found = descriptor_of(self.family, "force_field").weights_named(self.weights)
        assert found is not None
        return found

    @property
    def energy_scale(self) -> str:
        """Scale of the energies of these weights."""
        return self.told.energy_scale
