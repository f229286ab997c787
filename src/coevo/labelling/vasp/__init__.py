"""VASP as a labelling code: atomate2's static Makers, run by custodian in the process that labels."""
