"""What coevo has to know of the force field before anything of it is imported."""

from coevo.families import Family, Loader, Weights

FAMILY = Family(
    Loader("effective-medium", "force_field", "json", "effective_medium.force_field:EffectiveMedium", runs_code=False),
    title="effective medium theory",
    summary="a potential for metals (Jacobsen et al., Surf. Sci. 366, 394 (1996)), as in ASE",
    packages=("ase", "coevo-effective-medium"),
    weights={"standard": Weights(energy_scale="emt", licence="LGPL-2.1-or-later", source="in ASE")},
    default_weights="standard",
    elements=frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"}),
    capabilities=frozenset({"relax", "stress"}),
    get="pip install coevo-effective-medium",
    licence="LGPL-2.1-or-later",
    checkpoint_bytes=100,
)
