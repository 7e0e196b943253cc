"""What UncertaintyDisplay is given, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real

import numpy as np

from .._compute import Workers
from .._em import first_pass
from .._sampling import all_rows, bounded_sample
from .._validation import described, validated_shards
from ._estimates import place_of

__all__ = [
    "BLOCKS",
    "check_errors",
    "check_kind",
    "checked_blocks",
    "checked_count",
    "checked_features",
    "checked_level",
    "checked_names",
    "names_of",
    "sample_of",
]

BLOCKS = {"weights": "weight", "means": "mean", "variances": "variance"}
KINDS = {"intervals": None, "ellipses": 2, "density": 1}  # how many features each shows
SHOWN = 4  # features of "intervals" if none are chosen
N_ROWS = 2000  # of a sample; all are drawn if they are not more than twice as many
KEYS = ("weights", "means", "covariances", "names", "estimates", "covariance_matrix")


def check_kind(kind) -> None:
    """Refuse an unknown kind of picture."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be one of {list(KINDS)}.")


def checked_blocks(blocks) -> list[str]:
    """Blocks of parameters, of one name or several."""
    blocks = [blocks] if isinstance(blocks, str) else list(blocks)
    unknown = [block for block in blocks if not isinstance(block, str) or block not in BLOCKS]
    if unknown or not blocks:
        raise ValueError(
            f"blocks={blocks} must be some of {list(BLOCKS)}. Covariances of two features show in "
            "kind='ellipses'."
        )
    return list(dict.fromkeys(blocks))


def checked_features(kind: str, features, names: list[str]) -> list[int]:
    """Indices of features, given or chosen for a kind of picture."""
    n, wanted = len(names), KINDS[kind]
    if wanted is not None and n < wanted:
        raise ValueError(
            f"kind={kind!r} needs {wanted} features, and the mixture has {n}: take kind='density'."
        )
    if features is None:
        return list(range(SHOWN if wanted is None else wanted))[:n]
    if isinstance(features, (str, Integral)) or not isinstance(features, Iterable):
        features = [features]
    places = [_place_of(feature, names) for feature in features]
    if len(set(places)) < len(places) or len(places) != (wanted or max(len(places), 1)):
        how_many = "one or more" if wanted is None else str(wanted)
        raise ValueError(
            f"kind={kind!r} takes {how_many} different feature(s), got features={list(features)}."
        )
    return places


def _place_of(feature, names: list[str]) -> int:
    if isinstance(feature, str):
        if names.count(feature) == 1:
            return names.index(feature)
        listed = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
        raise ValueError(
            f"There is no feature {feature!r}, or more than one: give one of {listed}, or an index."
        )
    if not isinstance(feature, Integral) or isinstance(feature, bool):
        raise ValueError(
            f"features must be indices or names of features, got {described(feature)}."
        )
    if not -len(names) <= feature < len(names):
        raise ValueError(
            f"Feature {feature} is out of range: the mixture has {len(names)}, "
            f"give an index from 0 to {len(names) - 1}."
        )
    return int(feature) % len(names)


def checked_level(level) -> float:
    """A confidence level."""
    if not isinstance(level, Real) or not 0.0 < level < 1.0:
        raise ValueError(f"confidence_level must be between 0 and 1, got {level!r}.")
    return float(level)


def checked_count(n_draws) -> int:
    """A number of mixtures that are drawn."""
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be a whole number of at least 1, got {n_draws!r}.")
    return int(n_draws)


def checked_names(names, n: int, what: str) -> list[str]:
    """Given names, or ones with numbers."""
    if names is None:
        return [f"{what} {i}" for i in range(n)]
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != n:
        raise ValueError(
            f"{len(names)} {what}_names were given for {n} {what}s: give one a {what}."
        )
    return names


def check_errors(params, errors) -> None:
    """Refuse what are no standard errors, or those of another fit."""
    if not all(hasattr(errors, key) for key in KEYS):
        raise TypeError(
            "errors must be what standard_errors(X) of the model gave, a Bunch with "
            f"{', '.join(KEYS)}; got {described(errors)}."
        )
    if all(np.shape(errors[key]) == getattr(params, key).shape for key in KEYS[:3]):
        if np.allclose(errors.estimates, estimates_of(params, errors.names), rtol=1e-6, atol=0):
            return
    raise ValueError(
        "errors are those of another fit: their estimates are not the parameters of the model. "
        "Call standard_errors of this model, after its last fit."
    )


def estimates_of(params, names: list[str]) -> np.ndarray:
    """The free parameters of these names, such as "means[0, 1]"."""
    values = []
    for entry in names:
        name, index = place_of(entry)
        values.append(getattr(params, name)[index])
    return np.array(values)


def names_of(model) -> list[str] | None:
    """Names of the features that a model was fitted with."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else names.tolist()


def sample_of(model, X) -> np.ndarray | None:
    """Random rows of X, if there is one, with the features of the model; all if they are few."""
    if X is None:
        return None
    shards = validated_shards(model, X, reset=False).on_host()
    with Workers(model.n_jobs) as workers:
        moments = first_pass(workers.map_reduce, shards, False, 1)
        sample = bounded_sample(workers.map_reduce, shards, moments, N_ROWS, seed=0)
        return all_rows(workers.map_reduce, sample).X
