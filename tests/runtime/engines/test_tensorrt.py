"""TensorRT without a GPU: the executor against doubles with exactly the names of each version's bindings."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.cuda_memory import Cuda, load_cudart
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, PlanError, build_plan
from edgetl_runtime.engines.tensorrt_executor import deserialize
from edgetl_runtime.errors import EngineError, EngineNotBuiltError, EngineUnavailableError

from tests.runtime.engines.opened_tensorrt import GRAPH, Builds, features, opened, right
from tests.runtime.engines.tensorrt_double import VERSIONS, CudaDouble, tensorrt

CHECKS = list(checks.yield_checks(runs=2000))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_it_keeps_the_contract_with_the_names_of(version: str, check: Callable[[Any], None]) -> None:
    check(lambda graph: opened(version, graph=graph))


def test_a_name_that_a_version_lacks_cannot_be_called() -> None:
    """The doubles are what they say: the old way is there in 8.5, gone in 10.3; the new is in both."""
    lacks = {
        "8.5": (("IExecutionContext", "set_aux_streams"), ("IBuilderConfig", "progress_monitor")),
        "10.3": (("IExecutionContext", "execute_async_v2"), ("ICudaEngine", "get_binding_name")),
        "11.0": (("BuilderFlag", "FP16"), ("IBuilderConfig", "int8_calibrator")),
    }
    for version, absent in lacks.items():
        trt = tensorrt(version)
        builder = trt.Builder(trt.Logger())
        objects = {"IBuilderConfig": builder.create_builder_config(), "BuilderFlag": trt.BuilderFlag}
        plan = build_plan(trt, GRAPH, BuildOptions()).plan
        objects["ICudaEngine"] = trt.Runtime(trt.Logger()).deserialize_cuda_engine(plan)
        objects["IExecutionContext"] = objects["ICudaEngine"].create_execution_context()
        for kind, name in absent:
            with pytest.raises(AttributeError):
                getattr(objects[kind], name)
        with pytest.raises(AttributeError):
            objects["IBuilderConfig"].no_such_option = 1
        with pytest.raises(NotImplementedError):
            objects["IExecutionContext"].execute_v2([])
    assert not hasattr(tensorrt("8.5"), "IProgressMonitor") and hasattr(tensorrt("10.3"), "IProgressMonitor")


@pytest.mark.parametrize(
    ("version", "precision", "network", "flags"),
    [
        ("8.5", "fp32", ["EXPLICIT_BATCH"], set()),
        ("8.5", "int8", ["EXPLICIT_BATCH"], {"FP16", "INT8"}),
        ("8.6", "fp16", ["EXPLICIT_BATCH"], {"FP16"}),
        ("10.3", "int8", ["EXPLICIT_BATCH", "STRONGLY_TYPED"], set()),
        ("10.16", "fp16", ["EXPLICIT_BATCH", "STRONGLY_TYPED"], set()),
        ("11.0", "int8", ["STRONGLY_TYPED"], set()),
    ],
)
def test_precision_is_of_the_graph_and_only_old_versions_are_told(
    version: str, precision: str, network: List[str], flags: Any
) -> None:
    trt = tensorrt(version)
    build_plan(trt, GRAPH, BuildOptions(precision=precision))
    assert sorted(trt.last_flags) == network
    assert trt.last_config._set == flags  # TF32, on by default, is off
    assert trt.last_config._pools == {"WORKSPACE": 256 << 20}
    build_plan(trt, GRAPH, BuildOptions(precision=precision, tf32=True))
    assert trt.last_config._set == flags | {"TF32"}


def test_buffers_are_allocated_once_and_given_back() -> None:
    cuda = CudaDouble()
    engine = opened(cuda=cuda)
    for number in range(20):
        features(engine, number)
    assert cuda.allocations == 2 and len(cuda.memory) == 2 and len(cuda.streams) == 1
    engine.close()
    assert cuda.memory == {} and cuda.streams == {}


def test_a_plan_is_built_once_and_kept_for_the_next_start(tmp_path: Path) -> None:
    trt = tensorrt("10.16")
    builds = Builds(trt)
    heard: List[str] = []
    folder = tmp_path / "plans"
    for _ in range(3):
        engine = opened(trt=trt, build=builds, cache_dir=folder, progress=lambda phase, seconds: heard.append(phase))
        assert right(engine)
        assert engine.description == "tensorrt 10.16.0 SM 8.7 fp32"
        engine.close()
    assert builds.count == 1 and heard == ["Building engine"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert sorted(file.suffix for file in folder.iterdir()) == [".json", ".json", ".plan", ".timing"]


def test_without_leave_to_build_a_plan_that_is_not_there_is_said_and_one_that_is_serves(tmp_path: Path) -> None:
    with pytest.raises(EngineNotBuiltError, match=r"no plan of this graph.*edgetl-runtime install"):
        opened(build=None, cache_dir=tmp_path)
    opened(cache_dir=tmp_path).close()
    assert right(opened(build=None, cache_dir=tmp_path))
    with pytest.raises(EngineNotBuiltError):
        opened(build=None, cache_dir=tmp_path, cuda=CudaDouble("11.0"))


def test_another_gpu_version_option_or_graph_gets_a_plan_of_its_own(tmp_path: Path) -> None:
    count = 0
    for version in ("10.3", "10.16"):
        for sm in ("8.7", "11.0"):
            for options in (BuildOptions(), BuildOptions(tf32=True)):
                trt = tensorrt(version)
                builds = Builds(trt)
                engine = opened(trt=trt, build=builds, cuda=CudaDouble(sm), options=options, cache_dir=tmp_path)
                assert builds.count == 1 and right(engine)
                # The timing cache is one per version and GPU, whatever the options.
                assert bool(builds.timing[0]) == options.tf32
                count += 1
                assert len(list(tmp_path.glob("*.plan"))) == count


def test_what_the_build_says_is_in_the_error() -> None:
    def refuse(logger: Any) -> None:
        logger.log(logger.ERROR, "no implementation for Conv_3 [Conv]")

    trt = tensorrt("10.3", build=refuse)
    cuda = CudaDouble()
    with pytest.raises(PlanError, match=r"'Conv_3'.*no implementation") as caught:
        opened(trt=trt, cuda=cuda)
    assert caught.value.node == "Conv_3"
    assert cuda.streams == {} and cuda.memory == {}
    for version, node in (("8.5", "number 3"), ("10.3", "Conv_3")):
        with pytest.raises(PlanError) as caught:
            build_plan(tensorrt(version), b"rubbish", BuildOptions())
        assert caught.value.node == node and caught.value.op == ("Conv" if version == "10.3" else "")


def test_a_build_that_takes_too_long_is_stopped_where_the_version_can_be() -> None:
    with pytest.raises(EngineError, match=r"after 0 s"):
        build_plan(tensorrt("10.3"), GRAPH, BuildOptions(), timeout_s=0.0)
    assert build_plan(tensorrt("8.5"), GRAPH, BuildOptions(), timeout_s=0.0).plan  # `tensorrt_process` ends that one


def test_too_little_memory_is_said_before_a_build_of_minutes(tmp_path: Path, monkeypatch: Any) -> None:
    builds = Builds(tensorrt("10.3"))
    with pytest.raises(EngineError, match=r"needs about \d+ MB of GPU memory and 10 MB are free"):
        opened(cuda=CudaDouble(free_bytes=10 << 20), build=builds, cache_dir=tmp_path)
    assert builds.count == 0
    # Where CPU and GPU share it, the kernel knows better what is free.
    assert right(opened(cuda=CudaDouble(free_bytes=10 << 20, integrated=True), cache_dir=tmp_path))
    # A plan that is there needs no room to be built in.
    assert right(opened(cuda=CudaDouble(free_bytes=10 << 20), build=builds, cache_dir=tmp_path))
    full = type("Usage", (), {"free": 1 << 20})()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    with pytest.raises(EngineError, match=r"no room for the plan"):
        opened("10.16", cache_dir=tmp_path)


def test_without_a_folder_it_builds_and_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert right(opened())
    assert list(tmp_path.iterdir()) == []


def test_every_failing_cuda_call_is_an_engine_error_that_leaves_nothing() -> None:
    calls: Dict[str, str] = {
        "cudaMalloc": "cudaMalloc failed with CUDA error 2: out of memory",
        "cudaStreamCreate": "cudaStreamCreate failed",
        "cudaDeviceGetAttribute": "cudaDeviceGetAttribute failed",
        "cudaMemGetInfo": "cudaMemGetInfo failed",
    }
    for call, says in calls.items():
        cuda = CudaDouble()
        cuda.fail = {call}
        with pytest.raises(EngineError, match=says):
            opened(cuda=cuda)
        assert cuda.memory == {}
    for call in ("cudaMemcpyAsync", "cudaStreamSynchronize"):
        cuda = CudaDouble()
        engine = opened(cuda=cuda)
        cuda.fail = {call}
        with pytest.raises(EngineError, match=call):
            features(engine)
        cuda.fail = set()
        cuda.streams[0x5000].clear()
        assert right(engine)


def test_a_context_or_a_run_that_fails_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="execution context"):
        opened(trt=tensorrt("10.3", no_context=True))
    with pytest.raises(EngineError, match="could not run"):
        features(opened(trt=tensorrt("10.3", execution_fails=True)))


def test_a_version_before_named_tensors_is_unavailable() -> None:
    trt = tensorrt("8.5")
    trt.__version__ = "8.4.1.5"
    with pytest.raises(EngineUnavailableError, match=r"8\.4\.1\.5 is older than 8\.5"):
        opened(trt=trt)


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(EngineError, match="precision"):
        BuildOptions(precision="fp64")
    with pytest.raises(EngineError, match="workspace_bytes"):
        BuildOptions(workspace_bytes=-1)
    with pytest.raises(EngineError, match="for the GPU that it runs on"):
        build_plan(tensorrt("10.3"), GRAPH, BuildOptions(targets=("SM86",)))


def test_a_missing_cuda_runtime_is_named_with_how_to_get_it() -> None:
    with pytest.raises(EngineUnavailableError, match=r"libnothing\.so.*nvidia-jetpack"):
        load_cudart(("libnothing.so",))


def test_the_real_cuda_runtime_without_a_gpu_says_so_in_cudas_words() -> None:
    """Only where some libcudart is installed and no device is there: the ctypes signatures meet the real library."""
    names = [str(path) for base in sys.path for path in Path(base).glob("nvidia/*/lib/libcudart.so.1*")]
    if not names:
        pytest.skip("no libcudart here")
    if list(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/nvhost-gpu").exists():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineUnavailableError, match=r"cudaStreamCreate failed with CUDA error \d+: .*(driver|device)"):
        Cuda(load_cudart((names[0],)))


def test_the_real_runtime_without_a_gpu_reads_no_plan_and_prints_nothing(capfd: Any, caplog: Any) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("there is a GPU here")
    plan = build_plan(trt, GRAPH, BuildOptions(targets=("SM86",))).plan
    for contents in (plan, plan[:-1], b"rubbish", b""):
        assert deserialize(trt, contents) is None
    assert "TensorRT" in caplog.text
    assert capfd.readouterr() == ("", "")
