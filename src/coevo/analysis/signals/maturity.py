"""When a node is mature: three signals, each flat for some iterations, and a generator that still makes different things.

Where labelled phases make the hull there is one more: that labels go on to agree with what the force field puts there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Literal

from coevo.analysis.signals.environment_coverage import judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.configs.tree import MaturityConfig

Status = Literal["flat", "not flat", "no signal", "steady", "shrinking", "held", "refuted"]
Cause = Literal[
    "",
    "short",
    "moving",
    "noise",
    "few environments",
    "few atoms",
    "not calibrated",
    "ceiling",
    "few frames",
    "collapse",
    "narrowing",
    "refuted",
    "unlabelled",
]

ENTROPY = "environment_entropy"
ENERGY_ERROR = "energy_rmse_mev_per_atom"
FORCE_ERROR = "force_rmse_mev_per_angstrom"

_GOOD = frozenset({"flat", "steady", "held"})
_DIVERSITY = {"distinct": "distinct structures", "effective_formulas": "effective formulas"}


@dataclass(frozen=True)
class Signal:
    """One of the signals.

    Attributes
    ----------
    name : {"energy above hull", "environments", "force field", "diversity", "hull"}
    status : {"flat", "not flat", "no signal", "steady", "shrinking", "held", "refuted"}
        ``steady`` and ``shrinking`` are those of diversity, the last two those of a hull of labelled phases.
    reason : str
        With the numbers.
    cause : str
        Why it is not flat or steady, as a word that programs can rely on; empty if it is.
    """

    name: str
    status: Status
    reason: str
    cause: Cause = ""


@dataclass(frozen=True)
class Maturity:
    """Whether the node is mature, and why.

    Attributes
    ----------
    mature : bool
        All three signals are flat, the diversity is steady, and labels agree with the hull, if labelled phases make it.
    signals : tuple of Signal
    reason : str
        One sentence.
    """

    mature: bool
    signals: tuple[Signal, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        document = asdict(self)
        document["signals"] = list(document["signals"])
        return document


def is_flat(series: Sequence[float | None], tolerance: float, patience: int, *, relative: bool = False) -> bool:
    """Whether the last ``patience`` changes together stay within a tolerance.

    The spread (largest less smallest) of the last ``patience + 1`` values must not exceed the tolerance: a slow drift whose
    steps are each small is not flat. Too few values, or a missing one among them, are never flat.

    Parameters
    ----------
    series : sequence of (float or None)
        Oldest first.
    tolerance : float
        In the unit of the series, or, if ``relative``, a share of its largest absolute value in the window.
    patience : int
    relative : bool
    """
    window = _window(series, patience)
    if window is None:
        return False
    scale = max(abs(value) for value in window) if relative else 1.0
    return max(window) - min(window) <= tolerance * scale


def maturity(history: Sequence[Mapping[str, Any]], config: MaturityConfig) -> Maturity:
    """Judge the signals of a branch.

    Parameters
    ----------
    history : sequence of mappings
        Metrics per state, oldest first. Of each: ``environment_entropy`` (nats), ``energy_rmse_mev_per_atom``,
        ``force_rmse_mev_per_angstrom`` (a number or None) and ``force_field`` (its ``frames``). Of the last: ``ruler``, the
        samples of all iterations as one model and one hull see them (:func:`coevo.analysis.signals.ruler.summarise`);
        ``hull_check`` (:func:`coevo.makers.signals.hull_check.hull_check`, or None) where labelled phases make the hull, with
        ``population``, whose ``unconfirmed`` entries are at or below the hull without a label; and
        ``environment_calibration`` and ``environment_coverage`` where environments are judged by coverage.
        What is missing is never flat.
    config : MaturityConfig
    """
    latest = history[-1] if history else {}
    ruler = _iterations(latest.get("ruler"))
    signals = (
        _energies(ruler, config),
        _coverage(latest, config)
        if config.environment_signal == "coverage"
        else _environments(_column(history, ENTROPY), config),
        _force_field(history, config),
        _diversity(ruler, config),
        *([_hull(history, config)] if "hull_check" in latest else []),
    )
    mature = all(signal.status in _GOOD for signal in signals)
    if mature:
        reason = (
            f"mature: all three signals were flat for {config.patience} iterations, and the candidates are as diverse as before"
        )
        if "hull_check" in latest:
            reason += "; labels agreed with the phases on the hull"
    else:
        wanting = [signal for signal in signals if signal.status not in _GOOD]
        reason = "not mature: " + "; ".join(f"{signal.name}: {signal.reason}" for signal in wanting)
    return Maturity(mature, signals, reason)


def _energies(ruler: Sequence[tuple[int, Mapping[str, Any]]], config: MaturityConfig) -> Signal:
    """Median E_hull of the iterations' samples on one ruler; medians that are known no better than the tolerance say nothing."""
    name, window = "energy above hull", config.patience + 1
    medians = [sample.get("q50") for _, sample in ruler]
    errors = [sample.get("standard_error") for _, sample in ruler[-window:]]
    found = _judge(name, {"median E_hull of the ruler": medians}, config.e_hull_tolerance, config.patience, unit=" eV/atom")
    if found.cause == "short":
        return found
    known = [error for error in errors if error is not None]
    if len(known) < window or max(known) > config.e_hull_tolerance:
        size = min(int(sample.get("n", 0)) for _, sample in ruler[-window:])
        error = f"{max(known):.2g} eV/atom" if known else "unknown"
        reason = (
            f"no signal: the standard error of a median over {size} candidates is {error}, more than the change that counts "
            f"({config.e_hull_tolerance:.3g})"
        )
        return Signal(name, "no signal", reason, "noise")
    return found


def _environments(series: Sequence[float | None], config: MaturityConfig) -> Signal:
    """The entropy cannot exceed ln N: next to that ceiling it is flat whatever the structures do."""
    ceiling = log(config.environments)
    latest = series[-1] if series else None
    if latest is None or not isfinite(latest):
        reason = f"no signal: fewer than {config.environments} environments in the state"
        return Signal("environments", "no signal", reason, "few environments")
    if latest > ceiling - config.ceiling_margin:
        reason = (
            f"no signal: the entropy {latest:.4g} is within {config.ceiling_margin:.3g} of its ceiling "
            f"ln {config.environments} = {ceiling:.4g}; sample more environments"
        )
        return Signal("environments", "no signal", reason, "ceiling")
    return _judge("environments", {"entropy": series}, config.entropy_tolerance, config.patience, unit=" nats")


def _coverage(latest: Mapping[str, Any], config: MaturityConfig) -> Signal:
    """Shares of the last iterations' atoms that are far from all older ones, all in the last state's geometries."""
    calibration, coverage = latest.get("environment_calibration"), latest.get("environment_coverage")
    return Signal("environments", *judged(calibration, coverage, config.coverage_tolerance, config.patience))


def _force_field(history: Sequence[Mapping[str, Any]], config: MaturityConfig) -> Signal:
    """Test errors, once there are frames enough to fit and to test."""
    frames = ((history[-1].get("force_field") or {}).get("frames") or {}) if history else {}
    total, test = sum(frames.values()), frames.get("test", 0)
    if frames and (total < config.min_frames or test < config.min_test_frames):
        reason = (
            f"no signal: {total} labelled frames, {test} of them for the test; at least {config.min_frames} and "
            f"{config.min_test_frames} are needed"
        )
        return Signal("force field", "no signal", reason, "few frames")
    columns = {
        "energy RMSE (meV/atom)": _column(history, ENERGY_ERROR),
        "force RMSE (meV/Å)": _column(history, FORCE_ERROR),
    }
    return _judge("force field", columns, config.rmse_tolerance, config.patience, relative=True)


def _diversity(ruler: Sequence[tuple[int, Mapping[str, Any]]], config: MaturityConfig) -> Signal:
    """The last sample's diversity, per candidate, against the largest that an earlier one had.

    Fewer distinct structures are a mode collapse; fewer formulas alone may also be a generator that has learned what is stable.
    """
    samples = [(since, sample["diversity"]) for since, sample in ruler if sample.get("diversity") and sample["diversity"]["n"]]
    if len(samples) < 2:
        reason = f"no signal: the diversity of {len(samples)} iterations' candidates is known, 2 are needed"
        return Signal("diversity", "no signal", reason, "short")
    (since, latest), earlier = samples[-1], samples[:-1]
    told, fallen = [], []
    for key, words in _DIVERSITY.items():
        best_since, best = max(earlier, key=lambda item: (item[1][key] / item[1]["n"], -item[0]))
        before, now = best[key] / best["n"], latest[key] / latest["n"]
        if now < (1.0 - config.diversity_tolerance) * before:
            fallen.append(key)
        told.append(
            f"{words} {latest[key]:.3g} of {latest['n']} candidates (iteration {since}), at most {best[key]:.3g} of {best['n']} "
            f"before (iteration {best_since})"
        )
    allowed = f"a fall of {100 * config.diversity_tolerance:.3g} % is allowed"
    if fallen:
        cause: Cause = "collapse" if "distinct" in fallen else "narrowing"
        words = "mode collapse" if cause == "collapse" else "fewer compositions"
        return Signal("diversity", "shrinking", f"{words}: {'; '.join(told)}; {allowed}", cause)
    return Signal("diversity", "steady", f"steady: {'; '.join(told)}; {allowed}")


def _hull(history: Sequence[Mapping[str, Any]], config: MaturityConfig) -> Signal:
    """Of the newly labelled phases on the hull labels refute few in each of the last iterations, and none is without one."""
    name, window = "hull", config.patience + 1
    checks = [row["hull_check"] for row in history if row.get("hull_check")]
    unconfirmed = int((history[-1].get("population") or {}).get("unconfirmed", 0))
    if len(checks) < window:
        reason = f"no signal: labels of phases on the hull are known of {len(checks)} iterations, {window} are needed"
        return Signal(name, "no signal", reason, "short")
    latest = checks[-window:]
    told = ", ".join(_check_words(check) for check in latest)
    allowed = f"{100 * config.refuted_share:.3g} % may be refuted{_limit_words(latest)}"
    if any(check["labelled"] and check["refuted"] > config.refuted_share * check["labelled"] for check in latest):
        return Signal(
            name,
            "refuted",
            f"refuted: of newly labelled phases on the hull {told} over {window} iterations; {allowed}",
            "refuted",
        )
    if unconfirmed:
        # also where nothing is wanted, because the labelling code rejected them
        reason = (
            f"no signal: entries at or below the hull without a label that counts: {unconfirmed} (of newly labelled ones {told})"
        )
        return Signal(name, "no signal", reason, "unlabelled")
    if any(check["wanted"] and not check["labelled"] for check in latest):
        return Signal(name, "no signal", f"no signal: of phases on the hull {told} over {window} iterations", "unlabelled")
    return Signal(name, "held", f"held: of newly labelled phases on the hull {told} over {window} iterations; {allowed}")


def _limit_words(checks: Sequence[Mapping[str, Any]]) -> str:
    """Beyond which difference labels refute; checks of earlier versions do not say it."""
    limits = sorted({f"{check['limit']:.3g}" for check in checks if check.get("limit") is not None}, key=float)
    return f" (off by more than {' to '.join(dict.fromkeys((limits[0], limits[-1])))} eV/atom)" if limits else ""


def _check_words(check: Mapping[str, Any]) -> str:
    if check["labelled"]:
        return f"{check['refuted']} of {check['labelled']} refuted"
    return f"none of {check['wanted']} labelled" if check["wanted"] else "nothing to label"


def _judge(
    name: str,
    columns: Mapping[str, Sequence[float | None]],
    tolerance: float,
    patience: int,
    *,
    relative: bool = False,
    unit: str = "",
) -> Signal:
    """Flat when every column is."""
    spreads = []
    for key, series in columns.items():
        window = _window(series, patience)
        if window is None:
            reason = f"no signal: {key} is known for {_known(series)} consecutive states, {patience + 1} are needed"
            return Signal(name, "no signal", reason, "short")
        spreads.append(f"{key} between {min(window):.4g} and {max(window):.4g}{unit}")
    flat = all(is_flat(series, tolerance, patience, relative=relative) for series in columns.values())
    allowed = f"{100 * tolerance:.3g} %" if relative else f"{tolerance:.3g}"
    reason = (
        f"{'flat' if flat else 'not flat'}: {', '.join(spreads)} over {patience + 1} iterations (a spread of {allowed} is flat)"
    )
    return Signal(name, "flat", reason) if flat else Signal(name, "not flat", reason, "moving")


def _iterations(ruler: Mapping[str, Mapping[str, Any]] | None) -> list[tuple[int, Mapping[str, Any]]]:
    """Samples by iteration, oldest first; empty ones are missing ones."""
    return [(int(since), sample) for since, sample in sorted((ruler or {}).items(), key=lambda item: int(item[0])) if sample]


def _column(history: Sequence[Mapping[str, Any]], key: str) -> list[float | None]:
    return [None if metrics.get(key) is None else float(metrics[key]) for metrics in history]


def _window(series: Sequence[float | None], patience: int) -> list[float] | None:
    """The last ``patience + 1`` values if all are known."""
    values = [value for value in series[-(patience + 1) :] if value is not None and isfinite(value)]
    return values if len(values) == patience + 1 else None


def _known(series: Sequence[float | None]) -> int:
    """Values known without a gap, counted from the last."""
    count = 0
    for value in reversed(series):
        if value is None or not isfinite(value):
            break
        count += 1
    return count
