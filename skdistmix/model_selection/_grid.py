"""The grid of a search: what it may hold, and the Pipeline before the mixture."""

from __future__ import annotations

from difflib import get_close_matches

from sklearn.base import clone
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from .._validation import described

__all__ = ["assembled", "checked_grid", "mixture_of", "split_pipeline"]

#: Parameters that do not make another model, and what to do with them.
NOT_IN_GRIDS = {
    "n_jobs": "set n_jobs of the search",
    "n_shards": "it changes no result: set it on the estimator",
    "device": "all models share each reading of the rows: set it on the estimator",
    "warm_start": "every model of a search starts anew",
    "verbose": "set verbose of the search",
    "verbose_interval": "set verbose of the search",
    "learning_decay": "it belongs to partial_fit",
    "average": "it belongs to partial_fit",
}


def mixture_of(estimator):
    """The mixture: the estimator, or the last step of a Pipeline.

    Raises
    ------
    TypeError
        If it is no mixture that can share sweeps with others.
    """
    model = estimator
    if isinstance(model, Pipeline):
        model = model.steps[-1][1]
    if isinstance(model, Pipeline):
        raise TypeError(
            "The last step of the Pipeline is a Pipeline: MixtureSearch wants one Pipeline whose "
            "last step is the mixture."
        )
    if isinstance(model, type) or not hasattr(model, "_fit_by"):
        raise TypeError(
            "MixtureSearch fits mixtures that can share each reading of the rows, such as "
            f"DistributedGMM, or a Pipeline that ends in one; got {described(model)}. For other "
            "estimators use GridSearchCV with cv=FullData() and scoring=neg_bic."
        )
    return model


def checked_grid(estimator, param_grid) -> tuple[list[dict], list[dict]]:
    """The parameters of all cells as they were given, and as those of the mixture.

    Raises
    ------
    ValueError
        If the grid is empty, or holds names that the mixture does not have or that make no other
        model, or touches the steps before it.
    """
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    cells = list(ParameterGrid(param_grid))
    if not cells or not any(cells):
        raise ValueError("param_grid is empty: give at least one parameter with a list of values.")
    known = set(mixture_of(estimator).get_params(deep=True))
    names = dict.fromkeys(name for cell in cells for name in cell)  # in order
    if prefix:
        _refuse_earlier_steps(estimator, names, prefix)
    own = {name: name.removeprefix(prefix) for name in names}
    unknown = [name for name in names if own[name] not in known]
    if unknown:
        near = get_close_matches(own[unknown[0]], known)
        hint = f" Did you mean {' or '.join(repr(prefix + name) for name in near)}?" if near else ""
        raise ValueError(
            f"param_grid has {unknown[0]!r}, which {type(mixture_of(estimator)).__name__} has "
            f"not.{hint} It has {', '.join(sorted(prefix + name for name in known))}."
        )
    for name in names:
        if own[name] in NOT_IN_GRIDS:
            raise ValueError(
                f"param_grid has {name!r}, which makes no other model; {NOT_IN_GRIDS[own[name]]}."
            )
    return cells, [{own[name]: value for name, value in cell.items()} for cell in cells]


def _refuse_earlier_steps(pipeline: Pipeline, names, prefix: str) -> None:
    steps = {name for name, _ in pipeline.steps[:-1]}
    for name in names:
        if name.startswith(prefix):
            continue
        if name.split("__")[0] in steps:
            raise ValueError(
                f"param_grid has {name!r}, of a step before the mixture. Likelihoods of rows that "
                "were transformed differently are not comparable, so one search keeps "
                "these steps as they are. Where they only shift, scale or turn the rows, "
                "GridSearchCV with scoring=neg_bic and cv=FullData() puts that right; else make "
                "one search for each setting and judge by what the clusters are for."
            )
        near = get_close_matches(name, pipeline.steps[-1][1].get_params(deep=True), 1)
        hint = f" Did you mean {prefix + near[0]!r}?" if near else f" Names begin with {prefix!r}."
        raise ValueError(f"param_grid has {name!r}, which is no parameter of the last step.{hint}")


def split_pipeline(estimator, X) -> tuple[list, object]:
    """The fitted steps before the mixture, and the rows as they leave them."""
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return [], X
    before = clone(estimator[:-1])
    transformed = before.fit_transform(X)
    return before.steps, transformed


def assembled(estimator, steps: list, model):
    """The fitted mixture, after the fitted steps if there is a Pipeline."""
    if not isinstance(estimator, Pipeline):
        return model
    whole = clone(estimator)
    whole.steps = [*steps, (estimator.steps[-1][0], model)]
    return whole
