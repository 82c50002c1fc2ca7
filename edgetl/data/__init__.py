"""Datasets: labelled samples to build a bundle from."""

from edgetl.data.dataset import Dataset
from edgetl.data.opening import dataset

__all__ = ["Dataset", "dataset"]
