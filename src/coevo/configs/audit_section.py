"""The ``audit`` section: who, having taken no part in training, looks again at what the state says of stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from coevo.configs.force_field_section import ForceFieldConfig
from coevo.configs.section import Section
from coevo.families import descriptor_of
from coevo.families.weights_files import is_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.labelling_section import LabellingConfig

AuditorName = Literal["none", "force_field", "espresso", "vasp"]


class AuditConfig(Section):
    """An audit: of each iteration a random part of what the model calls stable or unstable, looked at by an auditor."""

    auditor: AuditorName = Field(
        default="none",
        description="none; force_field: that of audit.force_field, relaxing; or a code, by single points with its section of "
        "labelling, or relaxing: espresso, vasp",
    )
    force_field: ForceFieldConfig = Field(
        default_factory=ForceFieldConfig, description="the auditor, of another family and other training data than the state's"
    )
    structures: int = Field(default=30, ge=1, le=100_000, description="structures that the auditor looks at in each iteration")
    max_steps: int = Field(default=60, ge=1, le=5000, description="relaxation steps of a force field as the auditor, at most")

    code_steps: int = Field(
        default=0, ge=0, le=500, description="relaxation steps of espresso as the auditor, at most; 0: single points"
    )
    force_field_first: bool = Field(
        default=False, description="such an espresso starts from where audit.force_field relaxes a structure to, not a reference"
    )

    @property
    def in_use(self) -> bool:
        """Whether there is an audit at all."""
        return self.auditor != "none"

    @property
    def first_principles(self) -> bool:
        """Whether the auditor computes from first principles."""
        return self.auditor in {"espresso", "vasp"}

    def not_in_use(self) -> frozenset[str]:
        """Keys of a force field, where none is asked, and of a code, where it is no auditor or relaxes nothing."""
        if self.auditor == "force_field":
            return frozenset({"code_steps", "force_field_first"})
        asks = self.auditor != "none" and self.force_field_first
        return frozenset() if asks else frozenset({"force_field", "max_steps", "force_field_first"})

    @model_validator(mode="after")
    def _weights_stay_what_they_are(self) -> AuditConfig:
        if (self.auditor == "force_field" or self.force_field_first) and is_file(self.force_field.weights):
            raise ValueError(
                f"force_field.weights: got {self.force_field.weights!r}, of which nothing is known, allowed: weights of "
                f"{self.force_field.family}, {', '.join(descriptor_of(self.force_field.family, 'force_field').weights)}"
            )
        return self

    @model_validator(mode="after")
    def _only_espresso_relaxes(self) -> AuditConfig:
        if self.auditor == "vasp" and self.code_steps:
            raise ValueError(
                f"code_steps: got {self.code_steps} with vasp, which audits by single points, allowed: 0, or auditor: espresso"
            )
        if self.first_principles and self.force_field_first and not self.code_steps:
            raise ValueError("force_field_first: got true with code_steps 0, allowed: false, or code_steps of 1 and more")
        return self

    def is_labeller(self, labelling: LabellingConfig) -> bool:
        """Whether the auditor is who labels: then what it says is agreement with the labeller, and no audit."""
        if self.auditor != "force_field":
            return self.auditor == labelling.code
        return labelling.code == "teacher" and _named(self.force_field) == _named(labelling.teacher)

    def check(self, chosen: ForceFieldConfig, labelling: LabellingConfig, elements: Sequence[str]) -> None:
        """Refuse an auditor that took part in training, as far as the configuration says it.

        Parameters
        ----------
        chosen : ForceFieldConfig
            The node's own force field.
        labelling : LabellingConfig
        elements : sequence of str
            Of the node.

        Raises
        ------
        ValueError
        """
        if self.auditor != "force_field" and not (self.first_principles and self.force_field_first):
            return
        own, name = _named(chosen), "/".join(_named(self.force_field))
        known = descriptor_of(self.force_field.family, "force_field").elements
        if unknown := [symbol for symbol in elements if known is not None and symbol not in known]:
            raise ValueError(
                f"audit.force_field: got {name}, which does not know {', '.join(unknown)}, allowed: force fields that know the "
                f"elements of the node, {', '.join(elements)}"
            )
        if self.first_principles:
            return  # it moves atoms only, and may be any
        allowed = "a force field of another family, trained on other data or another functional, or auditor: espresso, vasp"
        if _named(self.force_field) == own:
            raise ValueError(f"audit.force_field: got {name}, the node's own force field, allowed: {allowed}")
        if self.is_labeller(labelling):
            return
        if self.force_field.family == chosen.family:
            raise ValueError(f"audit.force_field: got {name}, of the family of the node's own force field, allowed: {allowed}")
        if labelling.code != "teacher":
            taught, data = "PBE" if labelling.code in {"espresso", "vasp"} else "", ""
        else:
            taught, data = labelling.teacher.told.functional, labelling.teacher.told.data
            if self.force_field.family == labelling.teacher.family:
                raise ValueError(f"audit.force_field: got {name}, of the family of the teacher, allowed: {allowed}")
        mine, published = self.force_field.told, chosen.told
        functionals = [each.upper() for each in (published.functional, taught) if each]
        if not taught or (mine.functional and any(mine.functional.upper() != each for each in functionals)):
            return
        if mine.data and published.data and not _sets(mine.data) & (_sets(published.data) | _sets(data)):
            return
        raise ValueError(
            f"audit.force_field: got {name}, trained on {mine.data or 'what is not known'}, so it is not known that it was on "
            f"other data than the node's own force field and its labels, allowed: {allowed}"
        )


def _named(force_field: ForceFieldConfig) -> tuple[str, str]:
    return force_field.family, force_field.weights


def _sets(data: str) -> frozenset[str]:
    return frozenset(filter(None, data.split("+")))


def section_of(labelling: LabellingConfig, audit: AuditConfig) -> LabellingConfig:
    """Return the labelling section with which a first-principles auditor computes."""
    changed: Any = {"code": audit.auditor}
    return labelling.model_copy(update=changed)
