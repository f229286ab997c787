"""Extended XYZ files, read frame by frame; for every command that reads such files."""

from coevo.configs.structures.extended_xyz.cutting import MAX_TEXT, FrameError, FrameText, cut_frames
from coevo.configs.structures.extended_xyz.parsing import VACUUM, XyzFrame, numbers_in, parse_frame, vacuum_gaps, why_no_crystal

__all__ = [
    "MAX_TEXT",
    "VACUUM",
    "FrameError",
    "FrameText",
    "XyzFrame",
    "cut_frames",
    "numbers_in",
    "parse_frame",
    "vacuum_gaps",
    "why_no_crystal",
]
