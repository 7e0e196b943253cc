"""Choosing among mixture models: criteria as scorers, searches without splitting, a test."""

from ._comparison import compare_criteria
from ._exact_criterion import exact_criterion
from ._full_data import FullData
from ._local_criteria import aggregated_criterion, local_results
from ._merged import MergedComponents
from ._merging import merge_components
from ._order_test import bootstrap_likelihood_ratio
from ._scorers import neg_aic, neg_bic, neg_icl
from ._search import MixtureSearch
from ._slope import SlopeHeuristic

__all__ = [
    "FullData",
    "MergedComponents",
    "MixtureSearch",
    "SlopeHeuristic",
    "aggregated_criterion",
    "bootstrap_likelihood_ratio",
    "compare_criteria",
    "exact_criterion",
    "local_results",
    "merge_components",
    "neg_aic",
    "neg_bic",
    "neg_icl",
]
