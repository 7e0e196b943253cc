"""The results of a search, in the layout of GridSearchCV and as a table."""

from __future__ import annotations

import numpy as np

__all__ = ["criterion_table", "results_of"]

#: What a fitted mixture says of itself, and the attribute that holds it.
FACTS = {
    "bic": "bic_",
    "icl": "icl_",
    "aic": "aic_",
    "log_likelihood": "lower_bound_",  # the mean: multiplied by the weight of the rows
    "n_parameters": "n_parameters_",
    "n_iter": "n_iter_",
    "converged": "converged_",
}


def results_of(cells: list[dict], models: list, criteria, stopped, errors: list[str]) -> dict:
    """``cv_results_``: arrays with one entry a cell.

    Parameters
    ----------
    cells : list of dict
    models : list
        Fitted mixtures, None for cells that failed.
    criteria : ndarray of shape (n_cells,)
        The smaller the better, NaN for cells that failed.
    stopped : ndarray of bool of shape (n_cells,)
    errors : list of str
        Empty for cells that did not fail.
    """
    results = {}
    for name in dict.fromkeys(name for cell in cells for name in cell):
        values = np.empty(len(cells), dtype=object)
        for i, cell in enumerate(cells):
            values[i] = cell.get(name)
        mask = [name not in cell for cell in cells]
        results[f"param_{name}"] = np.ma.MaskedArray(values, mask=mask)
    results["params"] = cells
    results["mean_test_score"] = -criteria
    results["rank_test_score"] = _ranks(criteria)
    results["criterion"] = criteria
    for name, attribute in FACTS.items():
        values = [np.nan if m is None else getattr(m, attribute) for m in models]
        results[name] = np.array(values, dtype=float)
    weights = [np.nan if m is None else m.n_samples_seen_ for m in models]
    results["log_likelihood"] *= weights
    results["converged"] = results["converged"] == 1
    results["stopped"] = np.asarray(stopped, dtype=bool)
    results["error"] = np.array(errors, dtype=object)
    return results


def _ranks(criteria) -> np.ndarray:
    """Ranks from 1, equal ones for equal values; cells that failed come last."""
    known = np.where(np.isnan(criteria), np.inf, criteria)
    return (1 + (known[None, :] < known[:, None]).sum(axis=1)).astype(np.int32)


def criterion_table(results: dict):
    """Parameters and results of cells: a DataFrame if pandas is there, else a dict of arrays."""
    table = {
        name.removeprefix("param_"): values.data
        for name, values in results.items()
        if name.startswith("param_")
    }
    names = ("criterion", *FACTS, "rank_test_score", "stopped", "error")
    table.update({name.replace("_test_score", ""): results[name] for name in names})
    try:
        import pandas
    except ImportError:
        return table
    return pandas.DataFrame(table).infer_objects()
