"""Generators that run in an environment of their own: the generator contract through the runner's protocol."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import GeneratorConfig
from coevo.errors import ModelError
from coevo.families import built_in
from coevo.models.contracts import Capabilities, Sample
from coevo.models.external.archive import files_below, pack, unpack
from coevo.models.external.crystals import CandidateReader, RejectedCandidateError, checked_counts, write_examples
from coevo.models.external.exchange import Finished, run_task
from coevo.models.external.model_files import MODEL_LIMIT, ModelFiles, mapping_in, move_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from coevo.models.contracts import Candidate, Conditions, Example, Progress
    from coevo.models.external.families import ExternalFamily


class ExternalGenerator:
    """A generator whose work is done by a runner; a family subclasses it and sets ``family`` and ``external``.

    Whatever the family cannot promise, its ``capabilities`` say. A class whose runner reads a model in a way that cannot run code
    says so itself by ``runs_code = False`` (:func:`coevo.families.loader_of`); otherwise models of others wait for `coevo trust`.

    Parameters
    ----------
    model : ModelFiles or None
        The model's files, in whatever form the runner wrote them. None before the first fit.
    document : mapping
        JSON that is kept with the model.
    settings : GeneratorConfig

    Attributes
    ----------
    trusted : bool
        Whether the model was made here or is trusted by its sha256; the runner is told, and must not read another one in a way
        that can run code. False for what was loaded from a file, until whoever loads it says otherwise.
    """

    family: ClassVar[str]
    format: ClassVar[str] = "model-tar-1"
    capabilities: ClassVar[Capabilities] = Capabilities()
    external: ClassVar[ExternalFamily]

    def __init__(
        self,
        model: ModelFiles | None = None,
        document: Mapping[str, Any] | None = None,
        settings: GeneratorConfig | None = None,
    ):
        self._model = model
        self.document = dict(document or {})
        self.settings = settings or GeneratorConfig()
        self.trusted = True

    @classmethod
    def initial(cls, settings: GeneratorConfig | None = None) -> Self:
        """A generator that has seen no example."""
        return cls(settings=settings)

    @classmethod
    def load(cls, path: Path, settings: GeneratorConfig | None = None, *, trusted: bool = False) -> Self:
        """Read a checkpoint: its files are checked against its manifest and copied, and looked into by the runner only.

        Parameters
        ----------
        path : Path
        settings : GeneratorConfig, optional
        trusted : bool
            Whether the runner may read the model in a way that can run code.

        Raises
        ------
        CheckpointError
            If the file is missing, cut short, damaged, or of another family.
        """
        model = ModelFiles()
        manifest = unpack(path, model.path, cls.family)
        found = cls(model if manifest.files else None, manifest.document, settings)
        found.trusted = trusted
        return found

    def save(self, path: Path) -> None:
        """Write the checkpoint: a tar of the model's files with their hashes, the same bytes for the same files."""
        files = files_below(self._model.path, MODEL_LIMIT) if self._model is not None else {}
        pack(path, self.family, self.document, files)

    def options(self) -> dict[str, Any]:
        """Settings that the runner is given (JSON): ``generator.options`` of the node, as texts."""
        pairs = (option.partition("=") for option in self.settings.options)
        return {name.strip(): value.strip() for name, _, value in pairs}

    def sample(self, n: int, conditions: Conditions, seed: int, *, progress: Progress | None = None) -> Sample:
        """Draw candidates.

        Parameters
        ----------
        n : int
            Candidates wanted; fewer come back when the runner gives fewer or gives some that break the conditions.
        conditions : Conditions
        seed : int
        progress : callable, optional
            Called with 1 for each candidate of the result.

        Returns
        -------
        Sample
            What the runner gave and passes the checks of :mod:`coevo.models.external.crystals`; the rest is counted by reason.

        Raises
        ------
        ModelError
            If ``n`` is negative, no element is given, or the run fails; the message has the last lines of the log and names it.
        ConfigError
            If the family has no environment here.
        """
        if n < 0 or not conditions.elements:
            raise ModelError(f"cannot sample {n} candidates of elements {list(conditions.elements)}: give n ≥ 0 and elements")
        if n == 0:
            return Sample([], {})
        request = self._request(seed) | {"n": n, "conditions": _plain(conditions)}
        with run_task(self.external, "sample", request, prepare=self._copy_model) as run:
            reader = CandidateReader(conditions)
            candidates, rejected = self._read(run, reader, n, progress)
        return Sample(candidates, dict(sorted(rejected.items())))

    def _read(
        self, run: Finished, reader: CandidateReader, n: int, progress: Progress | None
    ) -> tuple[list[Candidate], dict[str, int]]:
        rejected = checked_counts(run.output.get("rejected"))
        candidates: list[Candidate] = []
        path = run.file(run.output.get("candidates"), limit=(2 * n + 100) * reader.line_limit)
        with path.open("rb") as file:
            while line := file.readline(reader.line_limit + 1):
                try:
                    if len(line) > reader.line_limit:
                        raise ModelError(f"the runner wrote a candidate of more than {reader.line_limit} bytes")
                    if len(candidates) == n:
                        raise RejectedCandidateError("beyond_number")
                    candidate = reader.read(line)
                except RejectedCandidateError as err:
                    rejected[err.reason] = rejected.get(err.reason, 0) + 1
                    continue
                candidate.origin["generator"] = self.family
                candidates.append(candidate)
                if progress is not None:
                    progress(1)
        return candidates, rejected

    def fit(self, examples: Sequence[Example], seed: int) -> tuple[Self, dict[str, Any]]:
        """Learn from examples in the family's environment; this generator is left as it is.

        Parameters
        ----------
        examples : sequence of Example
            All that the generator is to know (full replay); given to the runner sorted by id.
        seed : int

        Returns
        -------
        ExternalGenerator, dict
            The new generator and the runner's report (JSON).

        Raises
        ------
        ModelError, ConfigError
            As :meth:`sample`.
        """

        def prepare(directory: Path) -> None:
            self._copy_model(directory)
            write_examples(directory / "examples.jsonl", examples)

        model = ModelFiles()
        request = self._request(seed) | {"examples": "input/examples.jsonl"}
        with run_task(self.external, "fit", request, prepare=prepare) as run:
            move_model(run, model.path)
            document, report = mapping_in(run, "document"), mapping_in(run, "report")
            if run.checkouts:
                document["checkouts"] = {checkout.name: checkout.commit for checkout in run.checkouts}
        return type(self)(model, document, self.settings), report

    def _request(self, seed: int) -> dict[str, Any]:
        model = "input/model" if self._model is not None else None
        known = built_in("generator").get(self.family)
        told = {"trusted": self.trusted, "sources": [*known.sources] if known else []}
        return {"seed": seed, "options": self.options(), "model": model, "document": self.document, **told}

    def _copy_model(self, directory: Path) -> None:
        """Give the runner a copy of the model, so that it cannot change ours."""
        if self._model is not None:
            shutil.copytree(self._model.path, directory / "model")


def _plain(conditions: Conditions) -> dict[str, Any]:
    return {
        "elements": list(conditions.elements),
        "max_atoms": conditions.max_atoms,
        "chemical_systems": dict(conditions.chemical_systems),
        "compositions": list(conditions.compositions),
        "energy_above_hull": conditions.energy_above_hull,
    }
