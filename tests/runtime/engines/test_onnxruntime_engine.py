"""Providers of onnxruntime: the one really in use is said, and none falls back to the CPU unseen."""

from __future__ import annotations

from typing import Any, List

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
    engine = opened(provider=provider, allow_fallback=True, tf32=True)
    assert engine.description.endswith("CPUExecutionProvider")
    assert "in place of" in caplog.text
    for check in checks.yield_checks(100):
        check(lambda graph: open_engine("onnxruntime", graph, provider=provider, allow_fallback=True, tf32=True))


def test_nodes_that_would_land_on_the_cpu_unseen_are_an_error_unless_allowed(monkeypatch: Any) -> None:
    with_azure(monkeypatch)
    with pytest.raises(EngineUnavailableError, match=r"does not take the whole extractor.*allow_fallback"):
        opened(provider="a")
    engine = opened(provider="a", allow_fallback=True)
    assert engine.run({"image": checks.tiny_samples(1)[0]})["features"].shape == (1, 4)


def elsewhere(monkeypatch: Any) -> List[Any]:
    """GPU providers that are listed, and sessions that run on the CPU whatever they are asked; what was asked."""
    asked: List[Any] = []

    class Elsewhere(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, graph: bytes, options: Any, providers: Any, **further: Any) -> None:
            asked.append(providers)
            super().__init__(graph, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])

    gpu = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [*gpu, *AVAILABLE])
    monkeypatch.setattr("onnxruntime.InferenceSession", Elsewhere)
    return asked


def test_float32_is_not_rounded_to_tf32_unless_asked_for(monkeypatch: Any) -> None:
    asked = elsewhere(monkeypatch)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    for tf32 in (False, True):
        with pytest.raises(EngineUnavailableError, match="silently"):
            opened(provider="cuda", tf32=tf32)
        assert asked.pop() == [("CUDAExecutionProvider", {"use_tf32": "1" if tf32 else "0"})]
    with pytest.raises(EngineError, match=r"NVIDIA_TF32_OVERRIDE=0"):
        opened(provider="tensorrt")
    assert asked == []
    with pytest.raises(EngineUnavailableError, match="silently"):
        opened(provider="tensorrt", tf32=True)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(EngineUnavailableError, match="silently"):
        opened(provider="tensorrt")
    assert asked.pop() == ["TensorrtExecutionProvider", ("CUDAExecutionProvider", {"use_tf32": "0"})]
    assert opened(provider="cuda", tf32=True, allow_fallback=True).description.endswith("CPUExecutionProvider")


def test_a_session_that_silently_went_elsewhere_is_unavailable(monkeypatch: Any, caplog: Any) -> None:
    """A provider that is listed and whose libraries do not load: onnxruntime says nothing and takes the CPU."""

    elsewhere(monkeypatch)
    with pytest.raises(EngineUnavailableError, match=r"CUDAExecutionProvider.*silently run on CPUExecutionProvider"):
        opened(provider="cuda")
    assert opened(provider="cuda", allow_fallback=True).description.endswith("CPUExecutionProvider")
    assert "in place of" in caplog.text


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(EngineError, match=r"'cida'.*'cpu', 'cuda', 'tensorrt'"):
        opened(provider="cida")
