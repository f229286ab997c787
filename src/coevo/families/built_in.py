"""The families that come with coevo."""

from __future__ import annotations

from coevo.families.descriptor import Family, Loader, Weights
from coevo.families.environments import OF_NETWORKS, environment
from coevo.families.generators import (  # noqa: F401  (others know the generators by this module)
    ADIT,
    ADIT_ENVIRONMENT,
    CHEMELEON,
    CHEMELEON_ENVIRONMENT,
    CRYSTAL_PACKAGES,
    DIFFCSP,
    DIFFCSP_CHECKOUT,
    DIFFCSP_ENVIRONMENT,
    GENERATORS,
    MATTERGEN,
    MATTERGEN_ENVIRONMENT,
    RANDOM_CRYSTALS,
    UNI3DAR,
    UNI3DAR_ENVIRONMENT,
)

_SYMBOLS = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh
    Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr
    Ra Ac Th Pa U Np Pu
"""
UP_TO_PLUTONIUM = frozenset(_SYMBOLS.split())

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
    capabilities=frozenset({"fit", "watch", "relax", "stress", "batched"}),
    get="pip install chgnet",
    licence="BSD-3-Clause",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.chgnet.inference"),
    checkpoint_bytes=1_700_000,
)

DPA3_ENVIRONMENT = environment("dpa3", "environment", "model", "training", shared=OF_NETWORKS)

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

MACE_ENVIRONMENT = environment("mace", "files", "keeping", "model", "training", shared=OF_NETWORKS)

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

SEVENNET_ENVIRONMENT = environment("sevennet", "model", "training", shared=OF_NETWORKS, extra="sevennet")

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
    capabilities=frozenset({"fit", "watch", "relax", "stress", "batched"}),
    get="coevo env create sevennet, or pip install 'coevo[sevennet]' with coevo's constraints.txt",
    licence="MIT",
    in_workers=("coevo.models.relaxing.batch", "coevo.models.external.predictor"),
    checkpoint_bytes=3_500_000,
)

MATTERSIM_ENVIRONMENT = environment("mattersim", "model", "training", "weights", shared=OF_NETWORKS)

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

FAMILIES: tuple[Family, ...] = (CHGNET, DPA3, MACE, MATTERSIM, SEVENNET, *GENERATORS)
