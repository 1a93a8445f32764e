"""Numbers as text."""


def count(number: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def interval(bounds: list[float | None]) -> str:
    """``0.712 to 0.798``; empty without bounds."""
    return "" if None in bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def percent_interval(bounds: list[float | None], digits: int) -> str:
    """Shares as ``71 to 80 %``; empty without bounds."""
    return "" if None in bounds else f"{100 * bounds[0]:.{digits}f} to {100 * bounds[1]:.{digits}f} %"


def unit_and_scale(mm_per_px: float | None) -> tuple[str, float]:
    """The unit of lengths on a page, and the length of a pixel in this unit."""
    return ("mm", mm_per_px) if mm_per_px else ("px", 1)
