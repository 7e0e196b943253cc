"""Choosing among mixture models: criteria as scorers, searches without splitting, a test."""

from ._full_data import FullData
from ._order_test import bootstrap_likelihood_ratio
from ._scorers import neg_aic, neg_bic, neg_icl

__all__ = ["FullData", "bootstrap_likelihood_ratio", "neg_aic", "neg_bic", "neg_icl"]
