"""Datasets: labelled samples to build a bundle from."""

from edgetl.data.dataset import Dataset
from edgetl.data.opening import dataset
from edgetl.data.recordings import Recording
from edgetl.data.targets import TargetDataset
from edgetl.data.tasks import Task, TaskDataset

__all__ = ["Dataset", "Recording", "TargetDataset", "Task", "TaskDataset", "dataset"]
