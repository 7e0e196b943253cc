"""Steps of EM prolonged by what the steps before tell of the way to the fixed point.

EM converges linearly: near its end each step is a fixed matrix times the one before. Both rules
here estimate where the steps lead to, in coordinates without boundaries. Far from the end that
tells nothing, and a bold step may lead to a worse optimum than EM's own; so both wait until the
steps shrink steadily and slowly.
"""

from __future__ import annotations

import warnings

import numpy as np

__all__ = ["ACCELERATIONS", "MAX_MOVE", "Anderson", "Squarem", "usable_acceleration"]

MAX_MOVE = 20.0  # of a coordinate: beyond, exponentials of coordinates have no meaning
STEADY_STEPS = 4  # steps in a row that must have shrunk
SLOW = 0.9  # and by this factor at most; faster convergence needs no help


def usable_acceleration(family, name: str | None) -> str | None:
    """The acceleration if it makes sense for the family; otherwise None, with a warning."""
    if name is None or (family.monotone and family.has_coordinates):
        return name
    why = "has no coordinates" if family.monotone else "may lower the likelihood in an EM step"
    warnings.warn(
        f"acceleration={name!r} is not used: {type(family).__name__} {why}. EM runs without it.",
        UserWarning,
        stacklevel=6,  # the caller of fit
    )
    return None


class Steadiness:
    """Whether the last steps shrank steadily and slowly."""

    def __init__(self):
        self._sizes: list[float] = []

    def sees(self, step: np.ndarray) -> bool:
        """Whether they did, this step included."""
        self._sizes = [*self._sizes[-STEADY_STEPS:], float(np.linalg.norm(step))]
        if len(self._sizes) <= STEADY_STEPS:
            return False
        before, after = np.array(self._sizes[:-1]), np.array(self._sizes[1:])
        return bool(np.all((after < before) & (after > SLOW * before)))


class Squarem:
    """Squared extrapolation (Varadhan and Roland 2008, scheme S3): two steps, then a long one.

    How far it reaches beyond a step of EM is bounded by a number of such steps, which doubles when
    that was good and halves when it was not.
    """

    def __init__(self):
        self._steadiness, self._is_steady = Steadiness(), False
        self._first: np.ndarray | None = None
        self._reach, self._was_bounded = 2.0, False

    def propose(self, x: np.ndarray, image: np.ndarray) -> np.ndarray | None:
        """Where to go from `x`, whose EM step leads to `image`; None: there."""
        step, first = image - x, self._first
        self._is_steady = self._is_steady or self._steadiness.sees(step)
        if self._was_bounded:
            self._reach, self._was_bounded = 2 * self._reach, False
        self._first = step if first is None else None
        if first is None or not self._is_steady:
            return None
        change = step - first
        size = np.linalg.norm(first) / max(np.linalg.norm(change), 1e-150)
        if size <= 1:
            return None
        beyond = (x - first) + 2 * size * first + size**2 * change - image
        bound = self._reach * np.linalg.norm(step) / max(np.linalg.norm(beyond), 1e-150)
        self._was_bounded = bool(bound < 1)
        return image + min(bound, 1.0) * beyond

    def rejected(self) -> None:
        """The last proposal was no good."""
        self._first, self._was_bounded = None, False
        self._reach = max(self._reach / 2, 1.0)


class Anderson:
    """Anderson (1965) mixing: the combination of recent points whose steps cancel best.

    Used for EM by Henderson and Varadhan (2019). After a proposal that was no good it waits until
    plain steps shrink steadily again.
    """

    MEMORY = 6  # differences of steps that are kept
    RIDGE = 1e-6  # against nearly parallel differences, in units of the largest

    def __init__(self):
        self._steadiness, self._is_steady = Steadiness(), False
        self._points: list[np.ndarray] = []
        self._images: list[np.ndarray] = []

    def propose(self, x: np.ndarray, image: np.ndarray) -> np.ndarray | None:
        """Where to go from `x`, whose EM step leads to `image`; None: there."""
        self._is_steady = self._is_steady or self._steadiness.sees(image - x)
        self._points = [*self._points[-self.MEMORY :], x]
        self._images = [*self._images[-self.MEMORY :], image]
        if not self._is_steady or len(self._points) < 3:
            return None
        images = np.array(self._images)
        steps = images - np.array(self._points)
        U, sizes, V = np.linalg.svd(np.diff(steps, axis=0), full_matrices=False)
        shrunk = sizes / (sizes**2 + self.RIDGE * max(sizes[0], 1e-150) ** 2)
        mix = U @ (shrunk * (V @ steps[-1]))
        return image - mix @ np.diff(images, axis=0)

    def rejected(self) -> None:
        """The last proposal was no good."""
        self.__init__()


#: By the names of the estimators' parameter.
ACCELERATIONS = {"squarem": Squarem, "anderson": Anderson}
