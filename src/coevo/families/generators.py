"""The families of generators that come with coevo."""

from __future__ import annotations

from coevo.families.checkout import Checkout
from coevo.families.descriptor import Family, Loader
from coevo.families.environments import OF_DRAWS, OF_GENERATORS, environment

CRYSTAL_PACKAGES = ("numpy", "pymatgen-core", "pyxtal", "ase", "spglib")
"""What generated crystals depend on, whoever draws them."""

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

MATTERGEN_ENVIRONMENT = environment("mattergen", "model", "shims", "small", "training", "trust")

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

CHEMELEON_ENVIRONMENT = environment("chemeleon-dng", "cells", "files", "model", "training", shared=OF_GENERATORS)

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
    weights_in=("the directory that CHEMELEON_CKPTS names, else ckpts/ of the environment",),
    get="coevo env create chemeleon-dng",
    licence="MIT",
    checkpoint_bytes=4_000_000,
)

DIFFCSP_CHECKOUT = Checkout(
    name="DiffCSP",
    repository="https://github.com/jiaor17/DiffCSP",
    commits=("7121d159826efa2ba9500bf299250d96da37f146",),
    licence="MIT",
    marker="diffcsp/run.py",
    missing={
        "torch_scatter": "sums and means by index_add",
        "torch_geometric.data.DataLoader": "torch_geometric.loader.DataLoader",
        "pytorch_lightning.Trainer": "arguments of Lightning 1.3, for that of today",
        "dotenv": "reads no .env file: it would say where to write",
        "torch_sparse, pathos, p_tqdm, pyxtal, wandb": "imported, not used",
    },
    unread=("data", "fig", "diffcsp/prop_models"),
)

DIFFCSP_ENVIRONMENT = environment(
    "diffcsp",
    "data",
    "draws",
    "launcher",
    "network",
    "stand_ins",
    "trainer",
    shared=OF_DRAWS,
    checkouts=(DIFFCSP_CHECKOUT,),
)

# Its checkpoints are tensors (torch.load, weights_only) and numbers in JSON; the classes are those of the checkout. DiffCSP's own
# model directories are pickles: one is read in its environment if the user's own configuration names it.
DIFFCSP = Family(
    Loader("diffcsp", "generator", "model-tar-1", "coevo.models.external.diffcsp:DiffCSPGenerator", runs_code=False),
    title="DiffCSP",
    summary="a diffusion model of given compositions (Jiao et al., NeurIPS 36 (2023))",
    packages=CRYSTAL_PACKAGES,
    environment=DIFFCSP_ENVIRONMENT,
    environment_packages=("torch", "torch-geometric", "pytorch-lightning", "numpy", "pymatgen"),
    devices=("cpu", "cuda"),
    weights_in=("the directory that generator.diffcsp.weights names (a link in DiffCSP's README)",),
    capabilities=frozenset({"fit"}),
    get="coevo env create diffcsp --checkout PATH, or --clone",
    licence="MIT",
    # 12.3 million parameters of four bytes
    checkpoint_bytes=50_000_000,
    # Not measured: counted. A pass of its published network for 20 atoms, all joined to all, is 2.9 billion multiplications and
    # additions, a draw 2,000 passes, an example of training the work of three; at half the 15.7 TFLOP/s of a V100.
    gpu_seconds={"generate": 1.5, "train-generator": 0.0022},
)

UNI3DAR_ENVIRONMENT = environment(
    "uni3dar",
    *("arguments", "attention", "crystals", "data", "launch", "model", "parent", "program", "sampling", "training", "watch"),
    shared=OF_GENERATORS,
    checkouts=(
        Checkout(
            "Uni-3DAR",
            "https://github.com/dptech-corp/Uni-3DAR",
            ("bba82f5ffdcd85963e1dff68a52415cbf046e6c7",),
            "MIT",
            "uni3dar/inference.py",
            missing={"flash_attn": "torch's own attention, where there is no flash_attn"},
            unread=("fig",),
        ),
        Checkout(
            "Uni-Core",
            "https://github.com/dptech-corp/Uni-Core",
            ("ace6fae1c8479a9751f2bb1e1d6e4047427bc134",),
            "MIT",
            "unicore_cli/train.py",
            missing={"tokenizers": "an empty module: only texts need it"},
        ),
    ),
)

# Its checkpoints are tensors and numbers (torch.load, weights_only, and JSON). Uni-3DAR's own files are pickles: one is read in
# its environment if the user's own configuration names it.
UNI3DAR = Family(
    Loader("uni3dar", "generator", "model-tar-1", "coevo.models.external.uni3dar:Uni3darGenerator", runs_code=False),
    title="Uni-3DAR",
    summary="an autoregressive model of octrees (Lu et al., arXiv:2503.16278)",
    packages=CRYSTAL_PACKAGES,
    environment=UNI3DAR_ENVIRONMENT,
    environment_packages=("torch", "numpy", "scipy", "numba"),
    devices=("cpu", "cuda"),
    capabilities=frozenset({"fit"}),
    weights_in=("the file that generator.uni3dar.weights names (dptech/Uni-3DAR on the hub of Hugging Face)",),
    get="coevo env create uni3dar --checkout Uni-3DAR=PATH --checkout Uni-Core=PATH",
    licence="MIT",
    # 96 million parameters of four bytes, counted in the network that its code builds with the settings of scripts/train_mp20.sh
    checkpoint_bytes=386_000_000,
    # Estimated, not measured: 150 steps of 0.1 s a batch of 256, six draws a candidate (rank_ratio 0.32, half dropped);
    # training: 300 tokens an example, two passes of 100 million multiplications and additions, three times for the gradient, at
    # 60 TFLOP/s.
    gpu_seconds={"generate": 0.4, "train-generator": 0.006},
)

ADIT_ENVIRONMENT = environment(
    "adit",
    "crystals",
    "model",
    "reading",
    "stand_ins",
    "training",
    shared=OF_DRAWS,
    checkouts=(
        Checkout(
            name="all-atom-diffusion-transformer",
            repository="https://github.com/facebookresearch/all-atom-diffusion-transformer",
            commits=("03f556d943f690216b60e65b5d18943e2c4f1347",),
            licence="CC-BY-NC-4.0",
            consent=True,
            marker="src/models/ldm_module.py",
            missing={
                "torch_scatter": "the scatter of PyTorch Geometric",
                "wandb": "an empty module: nothing is logged there",
                "src.eval": "evaluators that judge nothing: coevo judges what is drawn",
                "src.utils": "its modules one by one, without hydra and rich",
            },
            unread=("data/qm9", "data/qmof"),
        ),
    ),
)

# Its checkpoints are tensors (torch.load, weights_only) and whole numbers, from which networks of the user's checkout are built.
ADIT = Family(
    Loader("adit", "generator", "model-tar-1", "coevo.models.external.adit:AditGenerator", runs_code=False),
    title="ADiT",
    summary="latent diffusion by transformers (Joshi et al., arXiv:2503.03965)",
    packages=CRYSTAL_PACKAGES,
    environment=ADIT_ENVIRONMENT,
    environment_packages=("torch", "torch-geometric", "lightning", "numpy", "spglib"),
    devices=("cpu", "cuda"),
    capabilities=frozenset({"fit"}),
    weights_in=(
        "the folder that generator.adit.weights names",
        "for `coevo env check`, the cache of huggingface_hub (HF_HOME): chaitjo/all-atom-diffusion-transformer",
    ),
    get="coevo env create adit --checkout PATH",
    licence="CC-BY-NC-4.0",
    # an autoencoder of 50 and a transformer of 32 million parameters, four bytes each, as a new model has them
    checkpoint_bytes=330_000_000,
    # Less than 20 minutes for 10,000 structures on a V100 (its paper, its README); an example and epoch of its training is
    # estimated from that: three of the 200 passes that a structure takes (100 steps, with and without guidance).
    gpu_seconds={"generate": 0.12, "train-generator": 0.002},
)

GENERATORS: tuple[Family, ...] = (RANDOM_CRYSTALS, CHEMELEON, DIFFCSP, UNI3DAR, ADIT, MATTERGEN)
