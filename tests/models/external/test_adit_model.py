"""ADiT for real, with a small model trained here; ``make test-models`` makes its environment, from a checkout of the user's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from generator_contract import LI_P_S, same_sample
from pymatgen.core import Lattice, Structure
from small_adit import CHECKOUT, small_settings
from small_mattergen import strained_examples

from coevo.errors import ModelError
from coevo.models.contracts import Conditions, Example
from coevo.models.external.adit import ADIT, AditGenerator
from coevo.models.external.checking import examine_environment
from coevo.models.external.environment import environment_of

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("adit_environment")]

AS_ITS_TRAINERS_WRITE = """
import functools, json, sys, types
from pathlib import Path
checkout, model, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
sys.path[:0] = sys.argv[4:]
import adit_stand_ins
adit_stand_ins.install(checkout)
import torch
from src.models.decoders.transformer import TransformerDecoder
from src.models.denoisers.dit import DiT
from src.models.encoders.transformer import TransformerEncoder
from src.models.interpolants.flow_matching import FlowMatchingInterpolant
sizes = json.loads((model / "adit.json").read_text())
vae, dit = (torch.load(model / name, weights_only=True) for name in ("vae.pt", "dit.pt"))
latent = sizes["vae"].pop("latent_dim")
optimizer = functools.partial(torch.optim.AdamW, lr=1e-4)
first = {
    "encoder": TransformerEncoder(**sizes["vae"]), "decoder": TransformerDecoder(**sizes["vae"]), "latent_dim": latent,
    "optimizer": optimizer, "compile": False,
}
torch.save({"epoch": 3, "state_dict": vae, "hyper_parameters": first}, target / "vae.ckpt")
mlp = sizes["dit"].pop("mlp")
second = {
    "denoiser": DiT(d_x=latent, mlp_ratio=float(mlp), **sizes["dit"]), "optimizer": optimizer, "autoencoder_ckpt": "/vae.ckpt",
    "interpolant": FlowMatchingInterpolant(num_timesteps=sizes["interpolant"]["num_timesteps"], self_condition=True),
}
state = {f"denoiser.{k}": v for k, v in dit.items()} | {f"autoencoder.{k}": v for k, v in vae.items()}
torch.save({"epoch": 4, "state_dict": state, "hyper_parameters": second}, target / "dit.ckpt")
"""


def test_its_environment_is_whole_and_says_what_stands_in_for_what():
    found = examine_environment(ADIT)
    assert found.broken == []
    assert set(CHECKOUT.missing) == set(found.stand_ins)


def test_the_checkout_stays_as_it_is(adit_environment, small_adit):
    files = {path for path in adit_environment.rglob("*") if ".git" not in path.parts}
    AditGenerator.initial(small_settings(weights=str(small_adit))).sample(2, Conditions(LI_P_S, max_atoms=8), 0)
    assert {path for path in adit_environment.rglob("*") if ".git" not in path.parts} == files


def test_a_chain_of_three_generations_each_read_elsewhere(tmp_path):
    """From nothing: the first fit trains the autoencoder, the others the diffusion model only, and no loss grows."""
    settings = small_settings(vae_epochs=30, epochs=15)
    generator, reports = AditGenerator.initial(settings), []
    for generation in range(3):
        fitted, report = generator.fit(strained_examples(), generation)
        reports.append(report)
        assert report["autoencoder"]["fitted"] == (generation == 0)
        assert report["loss_after"] <= report["loss_before"]
        assert len(report["history"]) == report["epochs_run"] + 1
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        place = tmp_path / f"{generation}" / "checkpoint"
        place.parent.mkdir()
        fitted.save(place)
        generator = AditGenerator.load(place, settings)
        assert generator.document["elements"] == ["Li", "P", "S"]
        assert generator.document["checkouts"][CHECKOUT.name] in CHECKOUT.commits
    assert reports[0]["autoencoder"]["new_elements"] == ["Li", "P", "S"]
    assert [r["loss_before"] for r in reports[1:]] == [r["loss_after"] for r in reports[:2]]
    assert reports[2]["loss_after"] <= reports[0]["loss_after"], "of the third fit, on the first fit's data"
    assert np.array_equal(*(_tensors(tmp_path / f"{k}" / "checkpoint", "vae.pt") for k in (0, 2))), "the autoencoder stays"
    assert not np.array_equal(*(_tensors(tmp_path / f"{k}" / "checkpoint", "dit.pt") for k in (0, 2)))


def _tensors(checkpoint: Path, name: str) -> np.ndarray:
    import torch

    files = AditGenerator.load(checkpoint)._model
    state = torch.load(files.path / name, weights_only=True)
    return np.concatenate([state[key].numpy().ravel() for key in sorted(state)])


def test_new_elements_are_learned_by_the_autoencoder_first(small_adit, tmp_path):
    settings = small_settings(weights=str(small_adit), vae_epochs=20, epochs=4)
    sodium = Structure.from_spacegroup(225, Lattice.cubic(6.53), ["Na", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    more = [Example(f"na2s-{k}", sodium.copy().apply_strain(0.002 * k, inplace=False), 0.0) for k in range(8)]
    known = AditGenerator.initial(settings)
    assert known.document["elements"] == ["Li", "P", "S"], "a folder of a node says what was learned"
    fitted, report = known.fit([*strained_examples(), *more], 0)
    assert report["autoencoder"]["new_elements"] == ["Na"]
    assert report["autoencoder"]["loss_after"] < report["autoencoder"]["loss_before"]
    assert fitted.document["elements"] == ["Li", "Na", "P", "S"]
    sample = fitted.sample(4, Conditions(("Na", "S"), max_atoms=12), 1)
    assert len(sample.candidates) + sum(sample.rejected.values()) >= 4
    assert {e.symbol for c in sample.candidates for e in c.structure.composition} <= {"Na", "S"}


def test_checkpoints_of_its_trainers_become_tensors_and_draw_the_same(adit_environment, small_adit, tmp_path):
    """Pickles of whole networks, as ADiT's trainers write them: read because the settings name the folder."""
    parts = [str(ADIT.runner.parent), str(ADIT.runner.parents[1])]
    command = environment_of(ADIT).command("-B", "-c", AS_ITS_TRAINERS_WRITE, str(adit_environment), str(small_adit))
    subprocess.run([*command, str(tmp_path), *parts], check=True, cwd=tmp_path)
    read = AditGenerator.initial(small_settings(weights=f"{tmp_path}/"))
    assert sorted(path.name for path in read._model.path.iterdir()) == ["adit.json", "dit.pt", "vae.pt"]
    assert len(read.document["elements"]) == 89, "MP-20"
    own = AditGenerator.initial(small_settings(weights=str(small_adit)))
    # the numbers of atoms are those of MP-20 where only tensors are known
    del own.document["atoms"]
    conditions = Conditions(LI_P_S, max_atoms=12, chemical_systems={"Li-P-S": 1.0, "Li-S": 1.0})
    first = read.sample(4, conditions, 3)
    assert first.candidates
    assert same_sample(first, own.sample(4, conditions, 3))
    read.save(tmp_path / "saved")
    assert str(tmp_path).encode() not in (tmp_path / "saved").read_bytes(), "no path of this machine"
    (tmp_path / "vae.ckpt").write_bytes((tmp_path / "dit.ckpt").read_bytes())
    with pytest.raises(ModelError, match=r"adit: read: the runner failed \(no_weights\): got 2 files \.ckpt \(dit\)"):
        AditGenerator.initial(small_settings(weights=f"{tmp_path}/"))


def test_published_weights_are_read_where_they_are(tmp_path):
    """Where ``coevo env check adit`` finds a pair of them; elsewhere there is nothing to test."""
    place = next(iter(examine_environment(ADIT).weights.values()))
    folder = Path(place) if place else None
    if folder is None or len(list(folder.glob("*.ckpt"))) != 2:
        pytest.skip("published weights (chaitjo/all-atom-diffusion-transformer) are not here as a folder of two files .ckpt")
    published = AditGenerator.initial(small_settings(weights=f"{folder}/", oversampling=20.0, steps=50))
    assert published.sample(4, Conditions(LI_P_S, max_atoms=16), 0).candidates
