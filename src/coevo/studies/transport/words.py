"""What a study of transport says: lines and tables. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = tuple[str, list[str], list[list[Any]]]


def summary(document: Mapping[str, Any]) -> list[str]:
    """Say what was found, what went on, what cannot be said."""
    results, settings = document["results"], document["settings"]
    rows, mobile = results["rows"], settings["mobile"]
    resolved = sum(row["conductivity"] is not None for row in rows)
    lines = [
        f"{mobile} moves measurably in an intact framework in {resolved} of {counted(len(rows), 'runs')} (phase and temperature)",
    ]
    if results["stopped"]:
        reasons = Counter(reason.partition(":")[0] for reason in results["stopped"].values())
        told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(6))
        lines.append(f"stopped after {settings['first_time']:g} ps at {settings['temperatures'][-1]:g} K: {told}")
    if results["left_out"]:
        reasons = Counter(results["left_out"].values())
        lines.append("left out: " + ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(4)))
    limits = [row["diffusion"]["upper_limit"] for row in rows if row["diffusion"] and not row["diffusion"]["resolved"]]
    if limits:
        lines.append(
            "an upper limit (<) is all that a run says in which atoms did not move on by a hop of 2.5 Å on average: in 100 ps "
            "that is D below about 1e-6 cm²/s"
        )
    lags = {_lag(row["diffusion"]) for row in rows if row["diffusion"]}
    if "no plateau" in lags:
        lines.append("where twice the lag gives another D (no plateau), the run is too short for it")
    if "one lag" in lags:
        lines.append("where there was time for one lag only, whether D depends on it is not known: atoms that rattle may count")
    if resolved:
        lines.append(
            f"conductivities are tracer ones (Nernst-Einstein, charge {settings['charge']:g}): ions are taken to move "
            "independently, which they do not (Haven's ratio is not in them)"
        )
    lines.append("a force field that is too soft makes barriers too low and D too high")
    return lines


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Coefficients by phase and temperature, and Arrhenius lines."""
    results, mobile = document["results"], document["settings"]["mobile"]
    phases = {phase["id"]: phase for phase in document["phases"]}
    order = list(phases)
    rows = sorted(results["rows"], key=lambda row: (order.index(row["id"]), row["temperature"]))
    found: list[Table] = [
        (
            f"diffusion of {mobile}",
            [
                "formula",
                "phase",
                "T (K)",
                "⟨T⟩ (K)",
                "D (cm²/s)",
                "95 %",
                "D along x, y, z",
                "τ (ps)",
                "ps × runs",
                "σ tracer (S/cm)",
                "bonds kept",
                "status",
            ],
            [_row(row, phases[row["id"]], results["stopped"]) for row in rows],
        )
    ]
    lines = [_line(phases[identifier], line) for identifier, line in results["lines"].items()]
    if lines:
        at = document["settings"]["extrapolate"]
        columns = ["formula", "phase", "Ea (eV)", f"D at {at:g} K (cm²/s)", "95 %", "note"]
        found.append(("Arrhenius lines (of at least 3 resolved temperatures)", columns, lines))
    return found


def _row(row: Mapping[str, Any], phase: Mapping[str, Any], stopped: Mapping[str, str]) -> list[Any]:
    found, framework = row["diffusion"], row["framework"]
    value, interval, along = "–", "–", "–"
    if found is not None and found["resolved"]:
        value, interval = f"{found['value']:.2e}", f"{found['low']:.1e} – {found['high']:.1e}"
        along = " ".join(f"{each:.1e}" for each in found["directions"])
    elif found is not None:
        value = f"< {found['upper_limit']:.1e}"
    bonds = framework.get("bonds")
    kept = "–" if not bonds else f"{bonds - framework['broken']} of {bonds}" + _new(framework)
    status = [framework["status"]]
    if found is not None and not found["resolved"]:
        status.append("not resolved")
    if found is not None and found["resolved"] and _lag(found):
        status.append(_lag(found))
    status += [text for text in (row["reason"], row["failure"]) if text]
    if row["id"] in stopped:
        status.append("stopped")
    return [
        phase["formula"],
        phase["id"][:10],
        row["temperature"],
        None if row["mean_temperature"] is None else round(row["mean_temperature"]),
        value,
        interval,
        along,
        None if found is None else found["lag"],
        None if found is None else f"{found['time']:.3g} × {found['replicas']}",
        None if row["conductivity"] is None else f"{row['conductivity']:.2g}",
        kept,
        "; ".join(status),
    ]


def _lag(found: Mapping[str, Any]) -> str:
    """Say what is wrong with the lag; empty if twice of it gives the same."""
    if found["plateau"]:
        return ""
    return "no plateau" if found.get("compared", True) else "one lag"


def _new(framework: Mapping[str, Any]) -> str:
    return f", {framework['formed']} new" if framework["formed"] else ""


def _line(phase: Mapping[str, Any], line: Mapping[str, Any]) -> list[Any]:
    head = [phase["formula"], phase["id"][:10]]
    if "reason" in line:
        return [*head, None, None, None, line["reason"]]
    return [
        *head,
        f"{line['activation_energy']:.3f} ± {line['activation_error']:.3f}",
        f"{line['value']:.1e}",
        f"{line['low']:.1e} – {line['high']:.1e}",
        "extrapolated",
    ]
