"""The settings digest of each imported file, among the labels of a state and the other files of a command."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import LabellingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.labelling.imported import ImportedFile
    from coevo.labelling.imported.scales import Facts

    Label = dict[str, Any]


@dataclass(frozen=True)
class Vouched:
    """A digest that the user says labels belong to, whatever the files say beyond the functional.

    Attributes
    ----------
    digest : str
    functional : str
        Of the labels that have it.
    codes : tuple of str
        Which made them.
    """

    digest: str
    functional: str
    codes: tuple[str, ...]


@dataclass(frozen=True)
class FileSettings:
    """Under which digest the labels of a file are stored.

    Attributes
    ----------
    digest : str
    base : str
        Digest of what the settings share whatever is computed with them.
    facts : Facts
        What they say beyond it.
    reason : str
        What contradicts the labels of the same base, where the digest is one of its own; or the user's word; else empty.
    recorded : dict
        What is kept with the labels and is in no digest.
    vouched : Vouched or None
    """

    digest: str
    base: str
    facts: Facts
    reason: str
    recorded: dict[str, Any]
    vouched: Vouched | None = None

    def recorded_with(self, elements: set[str], file: str) -> Label:
        """Fields of a label document that say where its digest comes from."""
        found: Label = {
            "settings_base": self.base,
            "settings_facts": self.facts.of(elements).to_dict(),
            "recorded": {**self.recorded, "file": file},
        }
        if self.vouched is not None:
            found["same_settings_as"] = {"digest": self.vouched.digest, "word": "user", "own": self.base}
        return found


def vouched_digest(labels: Sequence[Label], prefix: str) -> Vouched:
    """Find the digest that a user names.

    Raises
    ------
    LabellingError
        If no label has it, or labels of several do.
    """
    found = sorted({label["settings_digest"] for label in labels if label["settings_digest"]})
    fitting = [digest for digest in found if len(prefix) >= 4 and digest.startswith(prefix.lower())]
    if len(fitting) != 1:
        what = "begins with it; give more of it" if fitting else "is there; at least 4 digits of one are needed"
        count = f"{len(fitting)} digests" if fitting else "no such digest"
        raise LabellingError(f"--same-settings-as {prefix}: {count} {what}. Labels have: {_digests(labels, found)}")
    rows = [label for label in labels if label["settings_digest"] == fitting[0]]
    functional = min(Counter(str(label["functional"]) for label in rows).items(), key=lambda item: (-item[1], item[0]))[0]
    return Vouched(fitting[0], functional, tuple(sorted({str(label["code"]) for label in rows})))


def settings_of_files(
    files: Sequence[tuple[str, ImportedFile]], older: Sequence[Label], vouched: Vouched | None = None
) -> list[FileSettings]:
    """Return the settings of each file; neither the order of the files nor that of the labels matters.

    Raises
    ------
    LabellingError
        If the user vouches for labels of another functional.
    """
    from coevo.labelling.digest import settings_digest
    from coevo.labelling.imported.scales import Facts, Placed, base_settings, facts_of, place, plain_functional

    known: dict[str, dict[str, Facts]] = {}
    for label in sorted(older, key=lambda label: label["_id"]):
        if label.get("settings_base") and not label.get("same_settings_as"):
            sets = known.setdefault(label["settings_base"], {})
            said = Facts.from_dict(label.get("settings_facts") or {})
            digest = label["settings_digest"]
            sets[digest] = sets[digest].joined(said) if digest in sets else said
    bases = [base_settings(imported) for _, imported in files]
    facts = [facts_of(imported) for _, imported in files]
    if vouched is None:
        placed = place(list(zip(bases, facts, strict=True)), known)
    else:
        for name, imported in files:
            if plain_functional(imported.settings.functional).upper() != plain_functional(vouched.functional).upper():
                raise LabellingError(
                    f"--same-settings-as {vouched.digest[:12]}: its labels are of {vouched.functional}, and {name} is of "
                    f"{imported.settings.functional}; energies of two functionals are never of one scale"
                )
        placed = [Placed(vouched.digest, f"by the user's word, with the labels of {', '.join(vouched.codes)}")] * len(files)
    return [
        FileSettings(
            where.digest,
            settings_digest(base),
            said,
            where.reason,
            {**imported.recorded, "parameters": imported.settings.parameters, "taken": imported.taken},
            vouched,
        )
        for (_, imported), base, said, where in zip(files, bases, facts, placed, strict=True)
    ]


def _digests(labels: Sequence[Label], found: Sequence[str]) -> str:
    """Return digests for people: code, functional and number of labels of each."""
    rows = []
    for digest in found:
        own = [label for label in labels if label["settings_digest"] == digest]
        rows.append(f"{digest[:12]} ({own[0]['code']} {own[0]['functional']}, {len(own)} labels)")
    return ", ".join(rows) or "none"
