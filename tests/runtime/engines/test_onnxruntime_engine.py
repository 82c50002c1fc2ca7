"""Providers of onnxruntime: the one really in use is said, and none falls back to the CPU unseen."""

from __future__ import annotations

from typing import Any

import pytest
from edgetl_runtime.engines import checks, open_engine
from edgetl_runtime.errors import EngineError, EngineUnavailableError

onnxruntime = pytest.importorskip("onnxruntime")
AVAILABLE = onnxruntime.get_available_providers()
# A provider that loads and takes no node of an ordinary graph, in the CPU wheel: what a CUDA that lacks an operator is.
AZURE = "AzureExecutionProvider"


def opened(**options: Any) -> Any:
    return open_engine("onnxruntime", checks.TINY_GRAPH, threads=1, **options)


def with_azure(monkeypatch: Any) -> None:
    if AZURE not in AVAILABLE:
        pytest.skip(f"this onnxruntime has no {AZURE}")
    from edgetl_runtime.engines.onnxruntime_engine import PROVIDERS

    monkeypatch.setitem(PROVIDERS, "a", (AZURE,))


@pytest.mark.parametrize(("provider", "full"), [("cuda", "CUDA"), ("tensorrt", "Tensorrt")])
def test_a_provider_that_is_missing_is_unavailable_unless_allowed(provider: str, full: str, caplog: Any) -> None:
    if f"{full}ExecutionProvider" in AVAILABLE:
        pytest.skip(f"this onnxruntime has {full}")
    with pytest.raises(EngineUnavailableError, match=f"built without {full}ExecutionProvider"):
        opened(provider=provider)
    engine = opened(provider=provider, allow_fallback=True)
    assert engine.description.endswith("CPUExecutionProvider")
    assert "in place of" in caplog.text
    for check in checks.yield_checks(100):
        check(lambda graph: open_engine("onnxruntime", graph, provider=provider, allow_fallback=True))


def test_nodes_that_would_land_on_the_cpu_unseen_are_an_error_unless_allowed(monkeypatch: Any) -> None:
    with_azure(monkeypatch)
    with pytest.raises(EngineUnavailableError, match=r"does not take the whole extractor.*allow_fallback"):
        opened(provider="a")
    engine = opened(provider="a", allow_fallback=True)
    assert engine.run({"image": checks.tiny_samples(1)[0]})["features"].shape == (1, 4)


def test_a_session_that_silently_went_elsewhere_is_unavailable(monkeypatch: Any, caplog: Any) -> None:
    """A provider that is listed and whose libraries do not load: onnxruntime says nothing and takes the CPU."""

    class Elsewhere(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, graph: bytes, options: Any, providers: Any) -> None:
            plain = onnxruntime.SessionOptions()
            super().__init__(graph, plain, providers=["CPUExecutionProvider"])

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", *AVAILABLE])
    monkeypatch.setattr("onnxruntime.InferenceSession", Elsewhere)
    with pytest.raises(EngineUnavailableError, match=r"CUDAExecutionProvider.*silently run on CPUExecutionProvider"):
        opened(provider="cuda")
    assert opened(provider="cuda", allow_fallback=True).description.endswith("CPUExecutionProvider")
    assert "in place of" in caplog.text


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(EngineError, match=r"'cida'.*'cpu', 'cuda', 'tensorrt'"):
        opened(provider="cida")
