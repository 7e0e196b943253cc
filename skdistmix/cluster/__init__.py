"""Clustering of sharded data beyond mixtures."""

from ._landmark_spectral import LandmarkSpectralClustering

__all__ = ["LandmarkSpectralClustering"]
