"""Water in the root zone: FAO-56, chapter 8. Depths in mm, contents as fractions of the volume."""

from __future__ import annotations


def total_available(field_capacity: float, wilting_point: float, root_depth: float) -> float:
    """TAW, mm, of roots `root_depth` m deep. FAO-56 eq. 82."""
    return 1000 * (field_capacity - wilting_point) * root_depth


def depletion(content: float, field_capacity: float, root_depth: float, taw: float) -> float:
    """Dr, mm that lack to field capacity, of `taw` at most. FAO-56 eq. 87 in the limits of 86."""
    return min(taw, max(0.0, 1000 * (field_capacity - content) * root_depth))


def depletion_fraction(table: float, crop_et: float) -> float:
    """p at this ETc (mm/day), from the table's for 5 mm/day. FAO-56, footnote 2 of table 22."""
    return min(0.8, max(0.1, table + 0.04 * (5 - crop_et)))


def stress(taw: float, depleted: float, p: float) -> float:
    """Ks, 1 for a crop with enough water, 0 at the wilting point. FAO-56 eq. 84."""
    if depleted <= p * taw:
        return 1.0
    return max(0.0, (taw - depleted) / ((1 - p) * taw))


def drying(crop_et: float, ks: float, days: float) -> float:
    """mm that a crop takes in `days`, of ETc (mm/day) and Ks. FAO-56 eq. 81."""
    return crop_et * ks * days
