"""What a model is given of a stream: windows of a time series, crops of a frame. Pure; the same on host and device."""

from __future__ import annotations

from edgetl_runtime.windows.channels import ChannelMap, map_channels
from edgetl_runtime.windows.crops import Crop, CropSpec, NamedFrame, grid_crops
from edgetl_runtime.windows.cutting import Window, Windower, WindowTable, cut_windows
from edgetl_runtime.windows.spec import WindowSpec, parse_window

__all__ = [
    "ChannelMap",
    "Crop",
    "CropSpec",
    "NamedFrame",
    "Window",
    "WindowSpec",
    "WindowTable",
    "Windower",
    "cut_windows",
    "grid_crops",
    "map_channels",
    "parse_window",
]
