"""Device memory through ctypes on libcudart: the few functions an engine needs, without pycuda or cuda-python."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import EngineError, EngineUnavailableError

__all__ = ["LIBRARIES", "Buffer", "Cuda", "load_cudart"]

# CUDA 11.4 of JetPack 5, 12.6 of JetPack 6, 13 of JetPack 7; then whatever the linker knows.
LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
_TO_DEVICE, _TO_HOST = 1, 2
_INTEGRATED, _MAJOR, _MINOR = 18, 75, 76  # of enum cudaDeviceAttr


def load_cudart(names: Tuple[str, ...] = LIBRARIES) -> Any:
    """The CUDA runtime library; raises EngineUnavailableError when none of `names` loads."""
    tried: List[str] = []
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
    raise EngineUnavailableError(
        f"the CUDA runtime does not load ({'; '.join(tried)}): it is a part of JetPack (sudo apt install"
        " nvidia-jetpack); in a container, start it with the NVIDIA runtime"
    )


class Cuda:
    """One device and one stream. Raises EngineError with CUDA's own words when a call fails."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(stream))
        self._stream: Optional[ctypes.c_void_p] = stream

    @property
    def stream(self) -> int:
        """The handle of the stream."""
        if self._stream is None:
            raise EngineError("the CUDA stream was closed")
        return int(self._stream.value or 0)

    def sm(self) -> str:
        """The compute capability of the device: "8.7"."""
        return f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"

    def shares_memory(self) -> bool:
        """Whether CPU and GPU use the same memory, as on every Jetson."""
        return bool(self._attribute(_INTEGRATED))

    def free_bytes(self) -> int:
        """Free device memory as CUDA sees it; on JetPack before 7.2 it counts caches as taken."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return int(free.value)

    def allocate(self, size_bytes: int) -> Buffer:
        """Device memory that is the caller's to free."""
        address = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        return Buffer(int(address.value or 0), size_bytes)

    def free(self, buffer: Buffer) -> None:
        """Give device memory back."""
        self._call("cudaFree", ctypes.c_void_p(buffer.address))

    def upload(self, buffer: Buffer, array: NDArray[np.generic]) -> None:
        """Start copying a C-contiguous array into the buffer, in the order of the stream."""
        self._copy(buffer.address, array.ctypes.data, array.nbytes, buffer, _TO_DEVICE)

    def download(self, array: NDArray[np.generic], buffer: Buffer) -> None:
        """Start copying the buffer into a C-contiguous array, in the order of the stream."""
        self._copy(array.ctypes.data, buffer.address, array.nbytes, buffer, _TO_HOST)

    def wait(self) -> None:
        """Until everything on the stream is done."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(self.stream))

    def close(self) -> None:
        """Destroy the stream; harmless when repeated."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._call("cudaStreamDestroy", stream)

    def _copy(self, to: int, source: int, size_bytes: int, buffer: Buffer, way: int) -> None:
        if size_bytes != buffer.size_bytes:
            raise EngineError(f"a copy of {size_bytes} bytes for a device buffer of {buffer.size_bytes}")
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(to),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size_bytes),
            ctypes.c_int(way),
            ctypes.c_void_p(self.stream),
        )

    def _attribute(self, which: int) -> int:
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(which), ctypes.c_int(0))
        return int(value.value)

    def _call(self, name: str, *arguments: Any) -> None:
        code = int(getattr(self._library, name)(*arguments))
        if code:
            said = self._library.cudaGetErrorString(ctypes.c_int(code)) or b"no words for it"
            kind = EngineUnavailableError if name == "cudaStreamCreate" else EngineError
            raise kind(f"{name} failed with CUDA error {code}: {said.decode(errors='replace')}")


class Buffer:
    """A piece of device memory: its address, and how many bytes it has."""

    __slots__ = ("address", "size_bytes")

    def __init__(self, address: int, size_bytes: int) -> None:
        self.address = address
        self.size_bytes = size_bytes
