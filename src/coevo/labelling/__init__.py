"""Labels: the contract of a labelling code (:mod:`~coevo.labelling.contract`) and the codes that fulfil it.

Now: the *teacher*, a second force field (:mod:`~coevo.labelling.teacher`). The room is for first-principles codes behind the same
contract.
"""
