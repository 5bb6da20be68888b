"""How many digits results are written with."""

_COORDINATE_DIGITS = 2
_SCORE_DIGITS = 4
_SECONDS_DIGITS = 6


def round_coordinates(*coordinates: float) -> list[float]:
    """Image pixels, to a hundredth."""
    return [round(value, _COORDINATE_DIGITS) for value in coordinates]


def round_score(score: float) -> float:
    return round(score, _SCORE_DIGITS)


def round_seconds(seconds: float) -> float:
    """To a microsecond: finer than the time stamps of any video."""
    return round(seconds, _SECONDS_DIGITS)
