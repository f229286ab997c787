"""Calculations that users have already: one reader a kind of file, and what each of them hands over."""

from coevo.labelling.imported.contract import FileContents, ImportedFile, ImportedFrame, LabelKeys
from coevo.labelling.imported.reading import READERS, read_labels

__all__ = ["READERS", "FileContents", "ImportedFile", "ImportedFrame", "LabelKeys", "read_labels"]
