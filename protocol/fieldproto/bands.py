"""Check of one alert band: host, node at the start, and node when told of another."""

from .schema import FieldError


def check_band(band: dict, where: str) -> None:
    """Raises FieldError for a band of min, max and hysteresis that nothing can be inside of."""
    low, high = band.get("min"), band.get("max")
    if low is None or high is None:
        return
    if low > high:
        raise FieldError(where, "min is above max")
    if (band.get("hysteresis") or 0) > high - low:
        raise FieldError(where + ".hysteresis", "is wider than the band from min to max")
