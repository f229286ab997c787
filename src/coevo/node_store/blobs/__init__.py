"""Artifacts: immutable blobs under their sha256, on a disk or an object store."""
