"""What coevo knows of a family that has an environment of its own: its runner and the packages it needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from coevo.errors import ConfigError

HERE = Path(__file__).parent
PROTOCOL_FILE = HERE / "runners" / "coevo_runner.py"
"""The family's side of the protocol, copied beside every runner."""


@dataclass(frozen=True)
class ExternalFamily:
    """A model family that is run as a subprocess.

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
    """

    name: str
    runner: Path
    requirements: Path
    companions: tuple[Path, ...] = ()

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
