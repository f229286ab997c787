"""The families that come with coevo."""

from __future__ import annotations

from pathlib import Path

from coevo.families.descriptor import Checkout, ExternalFamily, Family, Loader, Weights

_EXTERNAL = Path(__file__).parents[1] / "models" / "external"
_RUNNERS = _EXTERNAL / "runners"
_OF_NETWORKS = (_RUNNERS / "coevo_network.py", _RUNNERS / "coevo_training.py")
"""What the runners of force fields share."""
_OF_GENERATORS = tuple(_RUNNERS / f"coevo_{part}.py" for part in ("compositions", "drawing", "fitting", "network"))
"""What the runners of generators share that take a composition as a condition."""


def _environment(
    name: str, *parts: str, shared: tuple[Path, ...] = (), extra: str = "", checkouts: tuple[Checkout, ...] = ()
) -> ExternalFamily:
    """A family's environment, whose runner has a folder of its own and imports ``parts`` of it."""
    module = name.replace("-", "_")
    folder = _RUNNERS / module
    companions = (*(folder / f"{module}_{part}.py" for part in parts), *shared)
    pins = _EXTERNAL / "envs" / f"{name}.txt"
    return ExternalFamily(name, folder / f"{module}_runner.py", pins, companions, extra, checkouts)


_SYMBOLS = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh
    Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr
    Ra Ac Th Pa U Np Pu
"""
UP_TO_PLUTONIUM = frozenset(_SYMBOLS.split())

CRYSTAL_PACKAGES = ("numpy", "pymatgen-core", "pyxtal", "ase", "spglib")
"""What generated crystals depend on, whoever draws them."""

_WHEEL = "in the wheel of chgnet"

CHGNET = Family(
    Loader("chgnet", "force_field", "safetensors", "coevo.models.chgnet.force_field:ChgnetForceField", runs_code=False),
    title="CHGNet",
    summary="the weights of its wheel",
    packages=("chgnet", "torch", "numpy", "pymatgen-core"),
    weights={
        "0.2.0": Weights("mp2020", "PBE", True, "BSD-3-Clause", _WHEEL, "MPtrj"),
        "0.3.0": Weights("mp2020", "PBE", True, "BSD-3-Clause", _WHEEL, "MPtrj"),
        "r2scan": Weights("r2scan", "r2SCAN", False, "BSD-3-Clause", _WHEEL, "MP-r2SCAN"),
    },
    default_weights="0.3.0",
    devices=("cpu", "cuda"),
    elements=UP_TO_PLUTONIUM,
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    get="pip install chgnet",
    licence="BSD-3-Clause",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.chgnet.inference"),
    checkpoint_bytes=1_700_000,
)

RANDOM_CRYSTALS = Family(
    Loader("embedded", "generator", "json", "coevo.models.random_crystals.generator:EmbeddedGenerator", runs_code=False),
    title="random crystals",
    summary="symmetric random crystals and variation, learned",
    packages=CRYSTAL_PACKAGES,
    capabilities=frozenset({"fit"}),
    get="pip install pyxtal",
    licence="MIT",
    in_workers=("coevo.models.random_crystals.generator", "pyxtal.symmetry", "pyxtal.lattice"),
    checkpoint_bytes=500_000,
)

MATTERGEN_ENVIRONMENT = _environment("mattergen", "model", "shims", "small", "training", "trust")

# A model directory: hydra constructs whatever its config.yaml names, and Lightning's checkpoints are pickles.
MATTERGEN = Family(
    Loader(
        "mattergen",
        "generator",
        "model-tar-1",
        "coevo.models.external.mattergen:MatterGenGenerator",
        runs_code=True,
        published={
            "chemical_system_energy_above_hull": "21852c6db0a2001bb5fbdb13548a2e755305643b488a41a569876d78ede47afd",
            "chemical_system": "1462adc65c131f2337da80d04cf64a85fedb9840a1980ce298c0a8beebadec71",
            "mattergen_base": "e4004432c97dd837208afe37f6a77438fac8f2b80946707d457fbc55df19a258",
            "small": "6622508618e2e4876115e6dade72e1ff27e179f9626ef67431d7d95f6ed9102e",
        },
        sources=("huggingface:microsoft/mattergen",),
    ),
    title="MatterGen",
    summary="a diffusion model (Zeni et al., Nature 639, 624 (2025))",
    packages=CRYSTAL_PACKAGES,
    environment=MATTERGEN_ENVIRONMENT,
    environment_packages=("mattergen", "torch", "torch-geometric", "numpy", "pymatgen"),
    devices=("cpu", "cuda"),
    capabilities=frozenset({"fit"}),
    weights_in=("the cache of huggingface_hub (HF_HOME): microsoft/mattergen",),
    get="coevo env create mattergen",
    licence="MIT",
    # 46.8 million parameters of four bytes (Zeni et al., supplementary information)
    checkpoint_bytes=190_000_000,
    # About 2 h for 1,000 structures on a V100 (its README); an example and epoch of its training is estimated from that: three of
    # the 4,000 passes that a structure takes (1,000 levels, predictor and corrector, with and without conditions).
    gpu_seconds={"generate": 7.2, "train-generator": 0.006},
)

CHEMELEON_ENVIRONMENT = _environment("chemeleon-dng", "cells", "files", "model", "training", shared=_OF_GENERATORS)

# Its checkpoints are read as tensors, numbers and texts; of a published file, which is a pickle, nothing but these is restored.
CHEMELEON = Family(
    Loader("chemeleon-dng", "generator", "model-tar-1", "coevo.models.external.chemeleon:ChemeleonGenerator", runs_code=False),
    title="Chemeleon-DNG",
    summary="a diffusion model that takes a composition (Park, Onwuli and Walsh, Nat. Commun. 16 (2025); network of DiffCSP)",
    packages=CRYSTAL_PACKAGES,
    environment=CHEMELEON_ENVIRONMENT,
    environment_packages=("chemeleon-dng", "torch", "torch-geometric", "numpy", "pymatgen"),
    devices=("cpu", "cuda"),
    capabilities=frozenset({"fit"}),
    get="coevo env create chemeleon-dng",
    licence="MIT",
    checkpoint_bytes=4_000_000,
)

DPA3_ENVIRONMENT = _environment("dpa3", "environment", "model", "training", shared=_OF_NETWORKS)

_DPA3_RELEASE = "`dp pretrained download` (Hugging Face, ModelScope), also when it is first used"

# Its checkpoints are read as tensors, numbers and texts (torch.load, weights_only), and networks are built from plain settings.
DPA3 = Family(
    Loader("dpa3", "force_field", "model-tar-1", "coevo.models.external.force_fields:Dpa3ForceField", runs_code=False),
    title="DPA-3",
    summary="a graph network of DeePMD-kit (Zhang et al., arXiv:2506.01686)",
    packages=("numpy", "pymatgen-core"),
    environment=DPA3_ENVIRONMENT,
    environment_packages=("deepmd-kit", "torch", "numpy"),
    weights={
        f"{network}-{branch}": Weights(scale, "PBE", False, "CC-BY-4.0", _DPA3_RELEASE, data)
        for network in ("DPA-3.1-3M", "DPA-3.2-5M")
        for branch, scale, data in (("mptrj", "pbe", "MPtrj"), ("omat24", "omat24", "OMat24"))
    },
    default_weights="DPA-3.1-3M-mptrj",
    devices=("cpu", "cuda"),
    elements=UP_TO_PLUTONIUM - {"Po", "At", "Rn", "Fr", "Ra"},
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    get="coevo env create dpa3",
    licence="LGPL-3.0-or-later",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
    # A branch alone, numbers of eight and four bytes; about 3.3 million of them in DPA-3.1-3M
    checkpoint_bytes=30_000_000,
)

MACE_ENVIRONMENT = _environment("mace", "files", "keeping", "model", "training", shared=_OF_NETWORKS)

_MACE_RELEASE = "fetched by mace-torch from its releases on GitHub when it is first used"
_ASL = "ASL (academic use only)"
_MACE_MIT = Weights("pbe", "PBE", False, "MIT", _MACE_RELEASE, "MPtrj")

# Its checkpoints are tensors and plain settings (torch.load, weights_only). MACE's own files are pickles: one is read in its
# environment if it is published by MACE's authors, or if the user's own configuration names it.
MACE = Family(
    Loader(
        "mace",
        "force_field",
        "model-tar-1",
        "coevo.models.external.force_fields:MaceForceField",
        runs_code=False,
        sources=("github:ACEsuit/mace-mp", "github:ACEsuit/mace-foundations"),
    ),
    title="MACE",
    summary="an equivariant network of many-body messages (Batatia et al., NeurIPS 35, 11423 (2022))",
    packages=("numpy", "pymatgen-core"),
    environment=MACE_ENVIRONMENT,
    environment_packages=("mace-torch", "torch", "e3nn", "matscipy", "ase", "numpy"),
    weights={
        **dict.fromkeys(("small", "medium", "large", "small-0b", "medium-0b", "small-0b2", "medium-0b2"), _MACE_MIT),
        **dict.fromkeys(("large-0b2", "medium-0b3"), _MACE_MIT),
        "medium-mpa-0": Weights("pbe", "PBE", False, "MIT", _MACE_RELEASE, "MPtrj+sAlex"),
        **dict.fromkeys(("small-omat-0", "medium-omat-0"), Weights("omat24", "PBE", False, _ASL, _MACE_RELEASE, "OMat24")),
        "mh-1-omat-pbe": Weights("omat24", "PBE", False, _ASL, _MACE_RELEASE, "OMat24"),
        "mace-matpes-pbe-0": Weights("pbe", "PBE", False, _ASL, _MACE_RELEASE, "MatPES"),
        **dict.fromkeys(
            ("mace-matpes-r2scan-0", "mh-1-matpes-r2scan"),
            Weights("r2scan", "r2SCAN", False, _ASL, _MACE_RELEASE, "MatPES-r2SCAN"),
        ),
    },
    default_weights="medium-mpa-0",
    own_files={"pbe": Weights("pbe", "PBE"), "omat24": Weights("omat24", "PBE"), "r2scan": Weights("r2scan", "r2SCAN")},
    devices=("cpu", "cuda"),
    elements=UP_TO_PLUTONIUM - {"Po", "At", "Rn", "Fr", "Ra"},
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    get="coevo env create mace",
    licence="MIT",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
    checkpoint_bytes=40_000_000,
)

SEVENNET_ENVIRONMENT = _environment("sevennet", "model", "training", shared=_OF_NETWORKS, extra="sevennet")

_SEVENNET_WHEEL = "in the wheel of sevenn"
_SEVENNET_RELEASE = "fetched by sevenn from its releases on GitHub when it is first used"

# Its checkpoints are read as tensors, numbers and texts (torch.load, weights_only), and networks are built from plain settings.
SEVENNET = Family(
    Loader("sevennet", "force_field", "model-tar-1", "coevo.models.external.force_fields:SevenNetForceField", runs_code=False),
    title="SevenNet",
    summary="an equivariant network (Park et al., J. Chem. Theory Comput. 20, 4857 (2024))",
    packages=("numpy", "pymatgen-core"),
    environment=SEVENNET_ENVIRONMENT,
    environment_packages=("sevenn", "torch", "e3nn", "torch-geometric", "ase", "numpy"),
    weights={
        "7net-0": Weights("pbe", "PBE", False, "MIT", _SEVENNET_WHEEL, "MPtrj"),
        "7net-l3i5": Weights("pbe", "PBE", False, "MIT", _SEVENNET_WHEEL, "MPtrj"),
        "7net-mf-0-pbe": Weights("pbe", "PBE", False, "MIT", _SEVENNET_WHEEL, "MPtrj+MP-r2SCAN"),
        "7net-mf-0-r2scan": Weights("r2scan", "r2SCAN", False, "MIT", _SEVENNET_WHEEL, "MPtrj+MP-r2SCAN"),
        "7net-mf-ompa-mpa": Weights("pbe", "PBE", False, "MIT", _SEVENNET_RELEASE, "MPtrj+sAlex+OMat24"),
        "7net-mf-ompa-omat24": Weights("omat24", "PBE", False, "MIT", _SEVENNET_RELEASE, "MPtrj+sAlex+OMat24"),
        "7net-omat": Weights("omat24", "PBE", False, "MIT", _SEVENNET_RELEASE, "OMat24"),
    },
    default_weights="7net-0",
    devices=("cpu", "cuda"),
    elements=UP_TO_PLUTONIUM - {"Po", "At", "Rn", "Fr", "Ra"},
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    get="coevo env create sevennet, or pip install 'coevo[sevennet]' with coevo's constraints.txt",
    licence="MIT",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
    checkpoint_bytes=3_500_000,
)

MATTERSIM_ENVIRONMENT = _environment("mattersim", "model", "training", "weights", shared=_OF_NETWORKS)

_MATTERSIM_SOURCE = "fetched by mattersim from its repository on GitHub when it is first used"

# Its checkpoints are read as tensors, numbers and texts (torch.load, weights_only), and the network is built from plain settings.
MATTERSIM = Family(
    Loader("mattersim", "force_field", "model-tar-1", "coevo.models.external.force_fields:MatterSimForceField", runs_code=False),
    title="MatterSim",
    summary="M3GNet trained on many materials, temperatures and pressures (Yang et al., arXiv:2405.04967 (2024))",
    packages=("numpy", "pymatgen-core"),
    environment=MATTERSIM_ENVIRONMENT,
    environment_packages=("mattersim", "torch", "torch-geometric", "pymatgen-core", "ase", "numpy"),
    weights={
        # PBE and PBE+U with the settings of the Materials Project, without corrections: inferred from its errors on such data.
        "mattersim-v1.0.0-1M": Weights("pbe", "PBE", False, "MIT", _MATTERSIM_SOURCE),
        "mattersim-v1.0.0-5M": Weights("pbe", "PBE", False, "MIT", _MATTERSIM_SOURCE),
    },
    default_weights="mattersim-v1.0.0-5M",
    own_files={"pbe": Weights("pbe", "PBE"), "omat24": Weights("omat24", "PBE"), "r2scan": Weights("r2scan", "r2SCAN")},
    devices=("cpu", "cuda"),
    elements=UP_TO_PLUTONIUM,
    capabilities=frozenset({"fit", "relax", "stress", "batched"}),
    get="coevo env create mattersim",
    licence="MIT",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
    checkpoint_bytes=18_000_000,
)

FAMILIES: tuple[Family, ...] = (CHGNET, DPA3, MACE, MATTERSIM, SEVENNET, RANDOM_CRYSTALS, CHEMELEON, MATTERGEN)
