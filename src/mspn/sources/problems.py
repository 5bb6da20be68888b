"""What is said of sources that give no picture."""

_LONGEST_REASON = 150


class SourceError(ValueError):
    """A source that gives no picture, or no more; the message is one line: what, where, what to do."""


def reason(error: Exception) -> str:
    """What an error of the system or a library says, in one line: a server may have written it."""
    said = getattr(error, "strerror", None) or str(error)
    return one_line(said).rstrip(".") or type(error).__name__


def one_line(said: str) -> str:
    """Foreign text without line breaks, without signs that steer a terminal, and not without end."""
    return "".join(sign for sign in " ".join(said.split()) if sign.isprintable())[:_LONGEST_REASON]
