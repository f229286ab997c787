from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase.units import GPa

from coevo.analysis.signals.residuals import errors, grouped_errors
from coevo.errors import AnalysisError


def frame(energy, forces, stress=0.0):
    return SimpleNamespace(energy=energy, forces=np.array(forces, dtype=float), stress=np.full((3, 3), stress))


LABELS = [frame(-4.0, [[0, 0, 0]]), frame(-3.0, [[1, 0, 0], [-1, 0, 0]]), frame(-2.0, [[0, 0, 0]], 0.01)]
PREDICTED = [frame(-4.03, [[0, 0, 0.3]]), frame(-2.96, [[1, 0, 0], [-1, 0.4, 0]]), frame(-2.0, [[0, 0, 0]], 0.02)]


def test_by_hand():
    found = errors(PREDICTED, LABELS)
    assert (found.n, found.n_atoms) == (3, 4)
    assert found.energy_rmse_mev_per_atom == pytest.approx(np.sqrt((30**2 + 40**2) / 3))
    assert found.energy_mae_mev_per_atom == pytest.approx(70 / 3)
    assert found.force_rmse_mev_per_angstrom == pytest.approx(np.sqrt((300**2 + 400**2) / 12))
    assert found.force_mae_mev_per_angstrom == pytest.approx(700 / 12)
    assert found.stress_rmse_gpa == pytest.approx(np.sqrt(0.01**2 / 3) / GPa)
    assert found.stress_mae_gpa == pytest.approx(0.01 / 3 / GPa)


def test_groups():
    found = grouped_errors(PREDICTED, LABELS, {"how": ["random", "stability", "random"], "kind": ["relaxed"] * 3})
    assert json.loads(json.dumps(found)) == found
    assert list(found["how"]) == ["random", "stability"]
    assert found["how"]["random"]["energy_rmse_mev_per_atom"] == pytest.approx(30 / np.sqrt(2))
    assert found["how"]["stability"]["n_atoms"] == 2
    assert found["kind"] == {"relaxed": found["all"]}


def test_no_frames():
    found = grouped_errors([], [], {"how": []})
    assert found["how"] == {}
    assert found["all"]["n"] == 0
    assert found["all"]["energy_rmse_mev_per_atom"] is None


def test_what_does_not_fit():
    with pytest.raises(AnalysisError, match="3 predictions and 2 labels"):
        errors(PREDICTED, LABELS[:2])
    with pytest.raises(AnalysisError, match=r"frame 0: predicted forces have shape \(1, 3\), labelled \(2, 3\)"):
        errors(PREDICTED[:1], LABELS[1:2])
    with pytest.raises(AnalysisError, match="'how' has 1 keys for 3"):
        grouped_errors(PREDICTED, LABELS, {"how": ["random"]})
