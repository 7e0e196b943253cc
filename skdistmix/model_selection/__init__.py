"""Choosing among mixture models: criteria as scorers, searches without splitting, a test."""

from ._full_data import FullData
from ._order_test import bootstrap_likelihood_ratio
from ._scorers import neg_aic, neg_bic, neg_icl
from ._search import MixtureSearch

__all__ = [
    "FullData",
    "MixtureSearch",
    "bootstrap_likelihood_ratio",
    "neg_aic",
    "neg_bic",
    "neg_icl",
]
