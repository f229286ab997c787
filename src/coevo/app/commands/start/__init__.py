"""Commands with which one begins: ``doctor``, ``init``, ``run``, ``status``, ``env``."""
