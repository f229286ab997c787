"""The input of ``pw.x`` as a dictionary, and custodian's dictionary language on it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodian.ansible.actions import DictActions, FileActions
from custodian.ansible.interpreter import Modder


@dataclass
class PwInput:
    """A ``pw.x`` input.

    Attributes
    ----------
    namelists : dict
        Name in capitals to key in small letters to value, as ``{"ELECTRONS": {"mixing_beta": 0.7}}``.
    cards : list of str
        The lines after the namelists, as they are.
    """

    namelists: dict[str, dict[str, Any]]
    cards: list[str]

    @classmethod
    def from_text(cls, text: str) -> PwInput:
        """Read an input."""
        from ase.io.espresso import read_fortran_namelist

        namelists, cards = read_fortran_namelist(io.StringIO(text))
        return cls({name.upper(): {k.lower(): v for k, v in section.items()} for name, section in namelists.items()}, cards)

    @classmethod
    def from_file(cls, path: str | Path) -> PwInput:
        """Read an input file."""
        return cls.from_text(Path(path).read_text(encoding="utf-8"))

    def get(self, key: str) -> Any:
        """Return the value of ``ELECTRONS->mixing_beta``; None where the input has none."""
        section, _, name = canonical_key(key).partition("->")
        return self.namelists.get(section, {}).get(name)

    def to_text(self) -> str:
        """Write the input."""
        from ase.io.espresso_namelist.namelist import Namelist

        return Namelist(self.namelists).to_string() + "\n".join(self.cards) + "\n"


def canonical_key(key: str) -> str:
    """Return ``SECTION->key`` whatever the case it was written in."""
    section, arrow, name = key.partition("->")
    return section.upper() + arrow + name.lower()


class PwModder(Modder):
    """Modify the input of ``pw.x``: ``{"dict": "pw.in", "action": {"_set": {"ELECTRONS->mixing_beta": 0.56}}}``.

    Parameters
    ----------
    input_file : str
        Name of the input, the value of ``dict`` in the actions.
    actions : list of type or None
        Supported actions, those on dictionaries and files if None.
    strict : bool
        Refuse actions that are not supported.
    directory : str
        Of the run.
    """

    def __init__(self, input_file: str = "pw.in", actions: list[type] | None = None, strict: bool = True, directory: str = "./"):
        self.input_file = input_file
        super().__init__(actions or [FileActions, DictActions], strict, directory=directory)

    def apply_actions(self, actions: list[dict[str, Any]]) -> None:
        """Apply the actions and write the input once.

        Raises
        ------
        ValueError
            If an action is neither on the input nor on a file, or is not supported.
        """
        path = Path(self.directory) / self.input_file
        content = PwInput.from_file(path)
        modified = False
        for action in actions:
            if action.get("dict") == self.input_file:
                by_case = {
                    verb: {canonical_key(key): value for key, value in settings.items()}
                    for verb, settings in action["action"].items()
                }
                self.modify(by_case, content.namelists)
                modified = True
            elif "file" in action:
                self.modify(action["action"], action["file"])
            else:
                raise ValueError(f"got the action {action}, allowed: one on dict {self.input_file} or on a file")
        if modified:
            path.write_text(content.to_text(), encoding="utf-8")
