"""`dir://`: pictures in a folder, in the order of their paths.

    dir://photos?rate_hz=5          five a second, by their stamps
    dir://shop/test?labels=yes      the folder of each is its label
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Mapping, Optional

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.images import image_paths, read_image
from edgetl_runtime.sources.uri import Uri

__all__ = ["FolderFeed", "load"]


def load(uri: Uri) -> FolderFeed:
    """The feed of a `dir://` address."""
    labelled = uri.choice("labels", ("no", "yes")) == "yes"
    return FolderFeed(Path(uri.path), uri.number("rate_hz", 1.0) or 1.0, labelled)


class FolderFeed:
    """One frame (H, W, 3) uint8 a picture; those that cannot be read are counted and left out."""

    connected = True

    def __init__(self, folder: Path, rate_hz: float = 1.0, labelled: bool = False) -> None:
        self._folder, self._paths, self._rate_hz, self._labelled = folder, image_paths(folder), rate_hz, labelled
        if not self._paths:
            raise SourceError(f"{folder} holds no picture")
        self._next = 0
        self._damaged: Dict[str, int] = {}
        self.about = About(f"dir://{folder}", "frame", rate_hz=rate_hz, steady=False)

    @property
    def drops(self) -> Mapping[str, int]:
        """Pictures that could not be read."""
        return dict(self._damaged)

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next picture."""
        if self._next >= len(self._paths):
            return None
        number, path = self._next, self._paths[self._next]
        self._next += 1
        try:
            frame = read_image(path)
        except SourceError:
            self._damaged["unreadable"] = self._damaged.get("unreadable", 0) + 1
            return []
        parent = path.parent.relative_to(self._folder).as_posix()
        label = parent if self._labelled and parent != "." else None
        return [Sample(frame, number / self._rate_hz, label=label)]

    def close(self) -> None:
        """Nothing is held."""
        self._next = len(self._paths)
