"""The line on stderr that says how far a computation is."""

from __future__ import annotations

import sys
import time
from typing import Callable, Optional, Union

Observe = Callable[[int, int, Optional[float], Optional[float]], None]

# seconds before the line appears, and between two of them
QUIET, EVERY = 2.0, 0.2


class Line:
    """Writes `name 12/100  1090.8 +- 12.3  7 s` over itself; nothing within the first two seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start = self.last = time.monotonic()
        self.shown = 0

    def __call__(self, done: int, of: int, value: Optional[float], error: Optional[float]) -> None:
        now = time.monotonic()
        if now - self.start < QUIET or (now - self.last < EVERY and self.shown):
            return
        self.last = now
        text = f"{self.name} {done}/{of}"
        if value is not None:
            text += f"  {value:.6g}" + (f" +- {error:.2g}" if error is not None else "")
        text += f"  {now - self.start:.0f} s"
        sys.stderr.write("\r" + text.ljust(self.shown))
        sys.stderr.flush()
        self.shown = max(self.shown, len(text))

    def close(self) -> None:
        """Clears the line."""
        if self.shown:
            sys.stderr.write("\r" + " " * self.shown + "\r")
            sys.stderr.flush()


def observer(progress: Union[None, bool, Observe], name: str) -> Union[None, Observe]:
    """What `progress` asks for: a callable of the caller's, a line, or nothing.

    ``None`` gives a line where stderr is a terminal.
    """
    if callable(progress):
        return progress
    if progress or (progress is None and sys.stderr.isatty()):
        return Line(name)
    return None


def close(observe: Union[None, Observe]) -> None:
    """Ends the line, if there is one."""
    if isinstance(observe, Line):
        observe.close()
