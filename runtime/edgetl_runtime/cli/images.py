"""Image arguments of the commands: files and folders, and the label that a folder gives."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Collection, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.sources.images import IMAGE_SUFFIXES, image_paths, read_image

__all__ = ["folder_label", "labelled_paths", "read_or_skip"]

logger = logging.getLogger(__name__)


def labelled_paths(arguments: Sequence[str]) -> List[Tuple[Path, Optional[Path]]]:
    """Every image file with the folder argument it was found under (None for a file given by name)."""
    found: List[Tuple[Path, Optional[Path]]] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found += [(image, path) for image in image_paths(path)]
        elif path.exists():
            found.append((path, None))
        else:
            raise SourceError(f"there is no file or folder {path}; check the spelling and the working directory")
    if not found:
        raise SourceError(f"no images in {', '.join(arguments)}; looked for {', '.join(IMAGE_SUFFIXES)}")
    return found


def folder_label(path: Path, root: Optional[Path], classes: Collection[str] = ()) -> str:
    """The class that a folder-a-class tree gives an image: its folder, below the root, joined by `/`.

    A file given by name has no root: its folders must then end in the name of one of those `classes`, since any
    folder would do for a new one. Raises SourceError for an image in no such folder, LabelError when the folder's
    name cannot be a label.
    """
    if root is None:
        folders = path.absolute().parent.parts[1:]
        for start in range(len(folders)):
            if "/".join(folders[start:]) in classes:
                return "/".join(folders[start:])
        raise SourceError(
            f"which class is {path}? None is called like its folder {path.absolute().parent.name!r}; learn it with"
            " --label, or give the folder that holds the folders of classes"
        )
    label = path.parent.relative_to(root).as_posix()
    if label in ("", "."):
        raise SourceError(f"{path} lies in no class folder; give its class with --label, or sort images into folders")
    return plain_text(label)


def read_or_skip(path: Path) -> Optional[NDArray[np.uint8]]:
    """The frame (H, W, 3) uint8, or None (said on stderr) when the file is no readable image."""
    try:
        frame: Any = read_image(path)
    except SourceError as error:
        logger.warning("skipped: %s", error)
        return None
    return np.asarray(frame)
