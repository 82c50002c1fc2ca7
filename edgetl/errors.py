"""Every error that the host raises on purpose, named for what the user can do about it.

    EdgetlError (edgetl_runtime.errors)
    ├── MissingPackageError   an optional third-party package is not installed: the message says how to get it
    ├── DatasetError          a dataset cannot be used
    ├── BackboneError         no such backbone, or it cannot be cut or built as asked
    │   └── WeightsError          its weights cannot be fetched, read, or do not fit
    ├── DemoError             the demo cannot run here: its device has no Python, or its process failed
    ├── ExportError           a graph that cannot be made, or that a device would refuse
    ├── ParityError           two engines do not give the same features or decisions
    ├── ProfileError          there is no such device, or its profile does not hold together
    ├── ProjectError          a project file that is not as it should be, or that names what is not there
    ├── QuantizeError         a graph that cannot be quantized as asked
    └── TuningError           a network cannot be trained as asked, or a checkpoint is not of this run
"""

from __future__ import annotations

from edgetl_runtime.errors import EdgetlError

__all__ = [
    "BackboneError",
    "DatasetError",
    "DemoError",
    "ExportError",
    "MissingPackageError",
    "ParityError",
    "ProfileError",
    "ProjectError",
    "QuantizeError",
    "TuningError",
    "WeightsError",
]


class MissingPackageError(EdgetlError):
    """A third-party package that this job needs is not installed."""


class DatasetError(EdgetlError):
    """A dataset cannot be used: missing, empty, of one class only, or of the wrong shape."""


class BackboneError(EdgetlError):
    """There is no such backbone, or it cannot be built or cut as asked."""


class WeightsError(BackboneError):
    """Pretrained weights cannot be fetched or read, or do not fit the backbone."""


class DemoError(EdgetlError):
    """The demo cannot run here: there is no Python for its device, or its device process failed."""


class ExportError(EdgetlError):
    """A graph cannot be exported, or is one that a device would refuse."""


class ParityError(EdgetlError):
    """Two engines do not give the same features or decisions within the tolerance."""


class ProfileError(EdgetlError):
    """There is no such device, or its profile in devices/ does not hold together."""


class ProjectError(EdgetlError):
    """A project file cannot be read, has a key or a value that it should not have, or names what is not there."""


class QuantizeError(EdgetlError):
    """A graph cannot be quantized as asked, or calibration samples are missing."""


class TuningError(EdgetlError):
    """A network cannot be trained as asked, its training ended in NaN, or a checkpoint is not of this run."""
