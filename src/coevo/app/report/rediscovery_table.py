"""Known phases that were withheld from the references, and which of them came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coevo.app.report.gathering import ReportData
    from coevo.app.report.plots import DataTable
    from coevo.app.report.tables import PageTable


@dataclass(frozen=True)
class RediscoverySection:
    """The section of the page."""

    text: str
    table: PageTable
    data: DataTable
    name: str = "rediscovery"


def rediscovery_section(data: ReportData, targets: str) -> RediscoverySection:
    """Return the table."""
    raise NotImplementedError
