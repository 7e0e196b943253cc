"""What a fit prints."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Progress"]


class Progress:
    """Prints the progress of a fit.

    Parameters
    ----------
    verbose : int
        0 prints nothing; 1 starts and iterations; 2 also time, value and change.
    interval : int
        Iterations between two lines.
    """

    def __init__(self, verbose: int, interval: int):
        self.verbose, self.interval = verbose, interval

    def say(self, text: str) -> None:
        """Print a line."""
        if self.verbose >= 1:
            print(text)

    def reporter(self, which: str) -> Callable | None:
        """What EM from one start calls after each pass, None when nothing is to be printed."""
        if not self.verbose:
            return None
        began = time.perf_counter()

        def report(n_iter, value, change):
            if n_iter % self.interval != 0:
                return
            details = ""
            if self.verbose >= 2:
                passed = time.perf_counter() - began
                details = f"\t time {passed:.2f}s\t value {value:.6f}\t change {change:.6f}"
            print(f"  {which}, iteration {n_iter}{details}")

        return report
