"""Every error that the runtime raises on purpose, named for what the user can do about it.

    EdgetlError
    ├── BundleError               a bundle cannot be used
    │   ├── BundleCorruptError        truncated, changed or not a bundle: fetch it again
    │   ├── BundleFormatError         well kept, but not what this version reads: upgrade, or rebuild
    │   ├── BundleUnsignedError       nobody signed it: sign it, or allow unsigned bundles on purpose
    │   ├── BundleSignatureError      signed by nobody this device trusts: add the key, or refuse it
    │   ├── BundleDowngradeError      a newer one is confirmed here: build a newer one, or allow it on purpose
    │   ├── BundleDeviceError         built for other boards: build it for this one, or allow it on purpose
    │   └── BundleParityError         the engine here does not reproduce the golden samples
    ├── StateError                the learnt state of a device
    │   ├── StateCorruptError         a row does not match its hash
    │   ├── StateMismatchError        it belongs to another bundle
    │   │   └── LearntLeftError           an update would leave what was learnt behind: a person must say yes
    │   ├── StateBusyError            another process writes it
    │   ├── StateFullError            the disk or the quota is full: nothing was changed
    │   └── GenerationError           there is no such generation, or it may not go live
    ├── EngineError               an inference engine failed
    │   ├── EngineUnavailableError    it is not installed, or does not load
    │   └── EngineNotBuiltError       it must be built first, which takes minutes, and was not to be
    ├── SampleError               one sample cannot be used; no head learnt from it
    ├── LabelError                a label cannot be used
    ├── SourceError               a file, folder or sensor cannot be read
    ├── FeatureSpaceError         statistics or heads of two feature spaces were mixed
    ├── StatisticsError           an operation that the statistics do not allow; they are unchanged
    └── UnknownSampleError        there is no such sample to forget
        └── FoldedSampleError         it is part of a sum by now and cannot be forgotten alone
"""

from __future__ import annotations

__all__ = [
    "BundleCorruptError",
    "BundleDeviceError",
    "BundleDowngradeError",
    "BundleError",
    "BundleFormatError",
    "BundleParityError",
    "BundleSignatureError",
    "BundleUnsignedError",
    "EdgetlError",
    "EngineError",
    "EngineNotBuiltError",
    "EngineUnavailableError",
    "FeatureSpaceError",
    "FoldedSampleError",
    "GenerationError",
    "LabelError",
    "LearntLeftError",
    "SampleError",
    "SourceError",
    "StateBusyError",
    "StateCorruptError",
    "StateError",
    "StateFullError",
    "StateMismatchError",
    "StatisticsError",
    "UnknownSampleError",
]


class EdgetlError(Exception):
    """The root of all errors that edgetl raises on purpose; the message says what to do next."""


class BundleError(EdgetlError):
    """A bundle cannot be used."""


class BundleCorruptError(BundleError):
    """The bytes are truncated, changed, or not a bundle at all."""


class BundleFormatError(BundleError):
    """The manifest is intact but says something that this version does not read."""


class BundleUnsignedError(BundleError):
    """The bundle carries no signature and unsigned bundles were not allowed."""


class BundleSignatureError(BundleError):
    """The signature is wrong, or by a key that this device does not trust."""


class BundleDowngradeError(BundleError):
    """A newer bundle of that name was confirmed on this device, or another one with the same sequence."""


class BundleDeviceError(BundleError):
    """The bundle was built for other boards than this one."""


class BundleParityError(BundleError):
    """The engine on this device does not reproduce the golden samples within the tolerance."""


class StateError(EdgetlError):
    """The learnt state of a device cannot be used."""


class StateCorruptError(StateError):
    """Stored state does not match its hash."""


class StateMismatchError(StateError):
    """The state was learnt with another bundle."""


class LearntLeftError(StateMismatchError):
    """An update has other features, and what was learnt cannot be taken over by it; a person must say yes."""


class StateBusyError(StateError):
    """Another process is writing the same state."""


class StateFullError(StateError):
    """There is no room to store the change; nothing was changed."""


class GenerationError(StateError):
    """There is no such generation, or it may not go live: it turned out worse, or is damaged."""


class EngineError(EdgetlError):
    """An inference engine failed."""


class EngineUnavailableError(EngineError):
    """An inference engine is not installed, or is installed and does not load."""


class EngineNotBuiltError(EngineError):
    """An inference engine must first be built on this device, which takes minutes and was not asked for."""


class SampleError(EdgetlError):
    """One sample cannot be used: wrong dtype, shape or values. Nothing learnt from it."""


class LabelError(EdgetlError):
    """A label cannot be used: empty, too long, or of the wrong type."""


class SourceError(EdgetlError):
    """A file, folder or sensor cannot be read."""


class FeatureSpaceError(EdgetlError):
    """Statistics or heads of two different feature spaces were mixed."""


class StatisticsError(EdgetlError):
    """An operation that the statistics do not allow; they are unchanged."""


class UnknownSampleError(EdgetlError):
    """There is no such sample, label or source to forget."""


class FoldedSampleError(UnknownSampleError):
    """The quota made a sum of the oldest samples: one of them can no longer be forgotten alone."""
