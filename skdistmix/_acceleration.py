"""Steps of EM prolonged by what the steps before tell of the way to the fixed point.

EM converges linearly: near its end each step is a fixed matrix times the one before. Both rules
here estimate where the steps lead to, from points in coordinates without boundaries.
"""

from __future__ import annotations

import warnings

import numpy as np

__all__ = ["ACCELERATIONS", "Anderson", "Squarem", "usable_acceleration"]

MAX_MOVE = 20.0  # of a coordinate: beyond, exponentials of coordinates have no meaning


def usable_acceleration(family, name: str | None) -> str | None:
    """The acceleration if it makes sense for the family; otherwise None, with a warning."""
    if name is None or (family.monotone and family.has_coordinates):
        return name
    why = "has no coordinates" if family.monotone else "may lower the likelihood in an EM step"
    warnings.warn(
        f"acceleration={name!r} is not used: {type(family).__name__} {why}. EM runs without it.",
        UserWarning,
        stacklevel=3,
    )
    return None


class Squarem:
    """Squared extrapolation (Varadhan and Roland 2008, scheme S3): two steps, then a long one."""

    def __init__(self):
        self.steps: list[np.ndarray] = []

    def propose(self, x: np.ndarray, image: np.ndarray) -> np.ndarray | None:
        """Where to go from `x`, whose EM step leads to `image`; None: there."""
        self.steps.append(image - x)
        if len(self.steps) < 2:
            return None
        first, second = self.steps
        self.steps = []
        change = second - first
        size = np.sqrt(first @ first / max(change @ change, 1e-300))
        if size <= 1:
            return None
        start = x - first
        return start + 2 * size * first + size**2 * change

    def rejected(self) -> None:
        """The last proposal was no good."""
        self.steps = []


class Anderson:
    """Anderson (1965) mixing: the combination of recent points whose steps cancel best.

    Used for EM by Henderson and Varadhan (2019).

    Parameters
    ----------
    memory : int
        Differences of steps that are kept.
    """

    def __init__(self, memory: int = 10):
        self.memory = memory
        self.points: list[np.ndarray] = []
        self.images: list[np.ndarray] = []

    def propose(self, x: np.ndarray, image: np.ndarray) -> np.ndarray | None:
        """Where to go from `x`, whose EM step leads to `image`; None: there."""
        self.points, self.images = self.points[-self.memory :], self.images[-self.memory :]
        self.points.append(x)
        self.images.append(image)
        if len(self.points) < 2:
            return None
        images = np.array(self.images)
        steps = images - np.array(self.points)
        differences = np.diff(steps, axis=0).T  # (n_coordinates, m)
        mix = np.linalg.lstsq(differences, steps[-1], rcond=1e-8)[0]
        return image - np.diff(images, axis=0).T @ mix

    def rejected(self) -> None:
        """The last proposal was no good."""
        self.points, self.images = self.points[-1:], self.images[-1:]


#: By the names of the estimators' parameter.
ACCELERATIONS = {"squarem": Squarem, "anderson": Anderson}
