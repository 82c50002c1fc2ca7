"""onnxruntime, 1.19 (JetPack 5) and later, on the CPU or through its CUDA and TensorRT providers.

The TensorRT provider builds at every start: its own plan cache is executable code that nothing guards against a
changed bit, another model or another version (microsoft/onnxruntime #22244). The engine `tensorrt` has a
guarded one. On Ampere and later both GPU providers round float32 to TF32 by default: it is switched off, and for the
TensorRT provider, which has no switch, refused (microsoft/onnxruntime #26029), unless it is asked for.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.engines.tensors import declared, match_inputs
from edgetl_runtime.errors import EngineError, EngineUnavailableError
from edgetl_runtime.types import TensorSpec

__all__ = ["PROVIDERS", "OnnxruntimeEngine", "load"]

logger = logging.getLogger(__name__)

# What a user may ask for -> the providers that may then run nodes. None of them is the CPU but its own.
PROVIDERS: Dict[str, Tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
_CPU = PROVIDERS["cpu"]
# Since 1.21 it rounds the weights of a layer that a quantized graph keeps in float32 to INT8, with one scale for all
# channels (microsoft/onnxruntime #22969, #25673); versions that do not know the name ignore it.
_DISABLED = ["WeightBiasQuantization"]


class OnnxruntimeEngine:
    """One onnxruntime session."""

    def __init__(self, session: Any, rounding: str = "") -> None:
        self._session = session
        self.inputs = _specs(session.get_inputs())
        self.outputs = _specs(session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self.description = f"onnxruntime {onnxruntime.__version__} {session.get_providers()[0]}{rounding}"

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""
        session = self._session
        if session is None:
            raise EngineError("the engine was closed; open the session again")
        match_inputs(self.inputs, tensors)
        try:
            return dict(zip(self._names, session.run(self._names, tensors)))
        except Exception as error:  # onnxruntime raises types of its own, without a common root
            raise EngineError(f"onnxruntime could not run the extractor: {error}") from error

    def bare(self, tensors: Dict[str, NDArray[np.generic]]) -> Callable[[], object]:
        """The library's own call with these inputs, and nothing of ours: what a measurement compares with."""
        session, names = self._session, self._names
        return lambda: session.run(names, tensors)

    def close(self) -> None:
        """Release the graph; harmless when repeated."""
        self._session = None


def load(
    graph: bytes,
    threads: Optional[int] = None,
    *,
    cache_dir: Optional[Path] = None,
    progress: Optional[BuildProgress] = None,
    provider: str = "cpu",
    allow_fallback: bool = False,
    tf32: bool = False,
) -> OnnxruntimeEngine:
    """A session for those bytes on `provider` ("cpu", "cuda" or "tensorrt"); threads None takes up to four.

    onnxruntime moves to the CPU, whole or node by node, when a provider is missing, fails to start or lacks an
    operator, and says so nowhere a program can see. That is an EngineUnavailableError here, unless
    `allow_fallback`; `description` names the provider that is really first. `tf32` lets a GPU of Ampere or later
    round float32 to 10 bits of mantissa, faster.
    """
    if provider not in PROVIDERS:
        raise EngineError(f"onnxruntime has no provider {provider!r} here; there are {list(PROVIDERS)}")
    wanted = PROVIDERS[provider]
    missing = [name for name in wanted[:1] if name not in onnxruntime.get_available_providers()]
    if missing and not allow_fallback:
        raise EngineUnavailableError(
            f"onnxruntime {onnxruntime.__version__} is built without {missing[0]}, it has"
            f" {onnxruntime.get_available_providers()}: install onnxruntime-gpu for this board, or allow_fallback"
        )
    if "TensorrtExecutionProvider" in wanted and not tf32 and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        raise EngineError(
            "onnxruntime's TensorRT provider rounds float32 to TF32 and has no switch for it: start this program with"
            " NVIDIA_TF32_OVERRIDE=0 in its environment, accept it by tf32=True, or use the engine tensorrt"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
    # Threads that spin between frames would take the cores that learning needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    guarded = wanted != _CPU and not allow_fallback
    if guarded:
        # Refuses a session of which a single node would land on the CPU; the CPU may then not be listed.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    listed: List[Any] = [name for name in wanted if name in onnxruntime.get_available_providers()]
    if not guarded and listed != list(_CPU):
        listed += _CPU
    listed = [(name, {"use_tf32": str(int(tf32))}) if name == "CUDAExecutionProvider" else name for name in listed]
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=listed, disabled_optimizers=_DISABLED)
    except Exception as error:  # as above
        if guarded and "fallback" in str(error):
            raise EngineUnavailableError(
                f"{wanted[0]} does not take the whole extractor, some of it would run on the CPU: {error}."
                " Set allow_fallback to accept that"
            ) from error
        raise EngineError(f"onnxruntime {onnxruntime.__version__} refuses the extractor: {error}") from error
    used = session.get_providers()[0]
    if used != wanted[0]:
        if not allow_fallback:
            raise EngineUnavailableError(
                f"onnxruntime was asked for {wanted[0]} and would silently run on {used}: its libraries do not load or"
                " there is no device. Mend that, or set allow_fallback"
            )
        logger.warning("onnxruntime runs on %s in place of %s; that was allowed", used, wanted[0])
    return OnnxruntimeEngine(session, " tf32" if tf32 and used not in _CPU else "")


def _specs(nodes: Any) -> Tuple[TensorSpec, ...]:
    kinds = {"tensor(float)": "float32"}
    return tuple(
        declared(node.name, kinds.get(node.type, node.type.replace("tensor(", "").rstrip(")")), tuple(node.shape))
        for node in nodes
    )
