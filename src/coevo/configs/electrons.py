"""Electrons that a composition holds beyond what its elements can take: counted from oxidation states, without a structure.

A salt such as Li2S has as many electrons to give as its anions take. Where more are left over, they have to go into a metal's
band or into cavities (electrides); many force fields make such crystals far too stable (``docs/method.md``, Electrons).
The count needs no structure, no model and no third-party package.

What is said of a composition is a bound: the *least* number of electrons left over, with every element at the lowest oxidation
state that it commonly takes. Bonds between like atoms (P-P in LiP and Li3P7, S-S in Li2S2) let an anion take fewer electrons,
which only lowers what is wanted: they are allowed and never make an excess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATE: Mapping[int, str] = {
    -4: "C Si Ge Sn Pb",
    -3: "N P As Sb Bi",
    -2: "O S Se Te Po Pt",
    -1: "H F Cl Br I At B Au",
    # They keep electrons in bonds between metal atoms and in bands, as in Ni3S2, Hf2S and Gd2Cl3.
    0: """Sc Ti V Cr Mn Fe Co Ni Cu Y Zr Nb Mo Tc Ru Rh Pd Ag Hf Ta W Re Os Ir La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
          Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr""",
    1: "Li Na K Rb Cs Fr Ga In Tl Hg",
    2: "Be Mg Ca Sr Ba Ra Zn Cd Kr Xe",
    3: "Al",
}
LOWEST_STATES: Mapping[str, int] = {symbol: state for state, symbols in _BY_STATE.items() for symbol in symbols.split()}
"""Oxidation state of each element (up to Z = 103) at which it leaves the fewest electrons to others.

The lowest of pymatgen's ``Element.common_oxidation_states``, with these deliberate differences: transition metals and f elements
0 (metal-metal bonds, see above), but Pt -2 and Au -1 (Cs2Pt, Cs3AuO); B -1 (MgB2, LiB; with B +3, B6O and B6P would have an
excess); Ga and In +1 (GaS, InSe); Pb -4 and Bi -3 (Mg2Pb, Li3Bi). He, Ne, Ar and Rn have none: not decided.
"""

NON_METALS = frozenset(("H", "C", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I", "Po", "At"))
"""Elements of which a composition needs one to be counted: the others make intermetallic compounds with each other, whose
electrons are in bands. Of Si, Ge, Sn, Pb, Sb, Bi and B alone no salt is asked: Li17Si4 and Li17Sn4 are known phases."""

_ROUNDING = 1e-9
"""Electrons per atom below which a number is 0: amounts may be fractions."""


def electron_excess(counts: Mapping[str, float]) -> float | None:
    """Count the electrons per atom that a composition holds beyond what its elements can take.

    With n_i atoms of element i and its lowest state s_i (:data:`LOWEST_STATES`): sum(n_i s_i) / sum(n_i). For Li, P and S this is
    (n_Li - 3 n_P - 2 n_S) / n.

    Parameters
    ----------
    counts : mapping of str to float
        Atoms of each element, in any multiple of the formula; amounts of 0 are ignored.

    Returns
    -------
    float or None
        e-/atom. Positive: an excess. 0 or negative: the composition can be accommodated; a negative number says how many more
        electrons its anions could take. Metals and intermetallic compounds, with no element of :data:`NON_METALS`, have 0: their
        electrons are in bands. None, not decided: an element is not in the table, or there are no atoms.

    Examples
    --------
    >>> electron_excess({"Li": 3, "P": 1, "S": 4})
    -1.0
    >>> electron_excess({"Li": 7, "S": 3})
    0.1
    """
    present = {symbol: amount for symbol, amount in counts.items() if amount > 0}
    if not present or not LOWEST_STATES.keys() >= present.keys():
        return None
    if not NON_METALS & present.keys():
        return 0.0
    electrons = sum(amount * LOWEST_STATES[symbol] for symbol, amount in present.items()) / sum(present.values())
    return electrons if abs(electrons) > _ROUNDING else 0.0


def has_electron_excess(value: float | None) -> bool:
    """Whether a number of :func:`electron_excess` is an excess; what is not decided (None) is not called one."""
    return value is not None and value > 0.0
