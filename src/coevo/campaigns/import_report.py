"""What an import of calculations took from each file and what became of it, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.label_agreement import Agreement
    from coevo.makers.imported.labels import ImportedLabels


def all_lines(files: Sequence[ImportedLabels]) -> list[str]:
    """Return what was taken from files and what was admitted; where several share what was taken, it is said once."""
    lines: list[str] = []
    before: list[str] = []
    for file in files:
        told = file_lines(file)
        shared = [line for line in told if line.startswith("  taken:")]
        lines += told if shared != before else [line for line in told if line not in shared]
        before = shared
    return lines


def file_lines(file: ImportedLabels) -> list[str]:
    """Return what was taken from a file and what was admitted, line by line."""
    settings = file.imported.settings
    lines = [f"{file.name}: {settings.functional}, {settings.parameters.get('source', '')}, settings {file.settings.digest[:12]}"]
    if file.settings.reason:
        lines.append(f"  {_why(file)}")
    said = [f"{name} {_said(value)}" for name, value in settings.parameters.items() if name not in {"source", "potentials"}]
    said += [f"potential of {element} {name}" for element, name in sorted(file.imported.potentials.items())]
    recorded = [f"{name} {_said(value)}" for name, value in file.imported.recorded.items()]
    taken = [f"{what} from {where}" for what, where in file.imported.taken.items()]
    for title, words in (("taken", taken), ("settings", said), ("recorded", recorded)):
        if words:
            lines.append(f"  {title}: {', '.join(words)}")
    lines += [f"  note: {note}" for note in file.imported.notes]
    lines.append(f"  {counts_line(file)}")
    for reason in file.reasons:
        details = [*((frame.result.reason, frame.result.detail) for frame in file.frames), *file.left_out]
        detail = next((detail for found, detail in details if found == reason and detail), "")
        if detail:
            lines.append(f"  {reason}, the first: {detail}")
    return lines


def counts_line(file: ImportedLabels) -> str:
    """Return how many frames were admitted and how many rejected for which reason."""
    rejected = file.total - file.admitted
    words = f"{file.admitted} of {file.total} frames admitted"
    if rejected:
        words += f", {rejected} rejected ({', '.join(f'{count} {reason}' for reason, count in file.reasons.items())})"
    admitted = [label for label in file.labels if label["status"] == "admitted"]
    if admitted:
        families = {label["family"] for label in admitted}
        kinds = Counter(label["kind"] for label in admitted)
        words += f"; {len(families)} families; {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
        anchors = sorted({str(label["how"]) for label in admitted} - {"imported"})
        if anchors:
            elements = sorted(
                {site["species"][0]["element"] for x in admitted if x["how"] in anchors for site in x["structure"]["sites"]}
            )
            words += f"; the energy scale is joined at {', '.join(elements)}"
    return words


def splits_line(file: ImportedLabels, splits: Mapping[str, str]) -> str:
    """Return how the admitted labels of a file are split."""
    found = Counter(splits[label["_id"]] for label in file.labels if label["status"] == "admitted" and label["_id"] in splits)
    return (
        f"{file.name}: {', '.join(f'{found[name]} {name}' for name in ('train', 'validation', 'test') if found[name]) or 'none'}"
    )


def agreement_warnings(names: Sequence[str], agreements: Sequence[Agreement]) -> list[str]:
    """Return sentences on quantities whose sign or unit are in doubt."""
    return [f"{_names(names)}: {_subject(found.quantity)} {found.words}" for found in agreements if found.is_wrong]


def agreement_line(names: Sequence[str], agreements: Sequence[Agreement]) -> str:
    """Return how the quantities of files go with the node's force field, those too that could not be compared."""
    words = [
        f"{found.quantity} {found.words or f'agrees (correlation {found.correlation:.2f}, factor {found.scale:.2f})'}"
        for found in agreements
    ]
    return f"{_names(names)}, against the node's force field: {'; '.join(words)}"


def settings_warning(file: ImportedLabels) -> str:
    """Say that the labels of a file are not of the scale of those that are there, and why; empty if they are."""
    return f"{file.name}: {_why(file)}" if file.settings.reason and file.settings.vouched is None else ""


def file_document(file: ImportedLabels, splits: Mapping[str, str]) -> dict[str, Any]:
    """Return what became of a file as JSON."""
    admitted = [label for label in file.labels if label["status"] == "admitted"]
    return {
        "file": file.name,
        "functional": file.imported.settings.functional,
        "settings_digest": file.settings.digest,
        "settings_reason": file.settings.reason,
        "parameters": file.imported.settings.parameters,
        "potentials": file.imported.potentials,
        "recorded": file.imported.recorded,
        "taken": file.imported.taken,
        "notes": file.imported.notes,
        "frames": file.total,
        "admitted": file.admitted,
        "rejected": file.reasons,
        "families": len({label["family"] for label in admitted}),
        "splits": dict(sorted(Counter(splits[label["_id"]] for label in admitted if label["_id"] in splits).items())),
    }


def _why(file: ImportedLabels) -> str:
    if file.settings.vouched is not None:
        return f"taken as of {file.settings.digest[:12]} {file.settings.reason}"
    return (
        f"settings of their own ({file.settings.digest[:12]}), because {file.settings.reason}; if they are of one scale all the "
        "same, say so: --same-settings-as DIGEST"
    )


def _subject(quantity: str) -> str:
    return {"forces": "the forces", "stress": "the stresses", "energy": "energy differences"}[quantity]


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "×".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
