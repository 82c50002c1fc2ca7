"""TensorRT without a GPU: the executor against doubles with exactly the names of each version's bindings."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.cuda_memory import Cuda, load_cudart
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, Built, PlanError, build_plan
from edgetl_runtime.engines.tensorrt_engine import open_tensorrt
from edgetl_runtime.engines.tensorrt_executor import TensorrtEngine, deserialize
from edgetl_runtime.engines.tensorrt_plans import PlanCache, plan_key
from edgetl_runtime.errors import EngineError, EngineNotBuiltError, EngineUnavailableError

from tests.runtime.engines.tensorrt_double import VERSIONS, CudaDouble, tensorrt

GRAPH = checks.TINY_GRAPH
CHECKS = list(checks.yield_checks(runs=2000))


class Builds:
    """`build_plan` with a double, counting."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.count = 0
        self.timing: List[bytes] = []

    def __call__(self, graph: bytes, options: BuildOptions, *, folder: Path, stop: Any, **arguments: Any) -> Built:
        self.count += 1
        self.timing.append(arguments["timing"])
        return build_plan(self.trt, graph, options, **arguments)


def opened(version: str = "10.3", **options: Any) -> TensorrtEngine:
    trt = options.pop("trt", None) or tensorrt(version)
    cuda = options.pop("cuda", None) or CudaDouble()
    options.setdefault("build", Builds(trt))
    graph, built = options.pop("graph", GRAPH), options.pop("options", BuildOptions())
    return open_tensorrt(trt, cuda, graph, built, **options)


def features(engine: TensorrtEngine, number: int = 0) -> Any:
    return engine.run({"image": checks.tiny_samples(number + 1)[number]})["features"]


def right(engine: TensorrtEngine) -> bool:
    expected = checks.expected_features(checks.tiny_samples(1)[0])
    return bool(np.allclose(features(engine), expected, rtol=1e-4))


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


def plan_of(folder: Path) -> Path:
    (plan,) = folder.glob("*.plan")
    return plan


def truncate(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def flip(plan: Path) -> None:
    contents = bytearray(plan.read_bytes())
    contents[len(contents) // 2] ^= 1
    plan.write_bytes(bytes(contents))


def exchange(plan: Path) -> None:
    """A plan with a side file that vouches for it, of another key, under this name."""
    other = plan.with_name("other")
    cache = PlanCache(other)
    key = plan_key(hashlib.sha256(b"another graph").hexdigest(), "10.3.0", "8.7", BuildOptions())
    cache.keep_plan(key, plan.read_bytes())
    (foreign,) = other.glob("*.plan")
    foreign.replace(plan)
    Path(str(foreign) + ".json").replace(str(plan) + ".json")
    other.rmdir()


def empty(plan: Path) -> None:
    plan.write_bytes(b"")


def lose_the_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").unlink()


def lose_the_plan(plan: Path) -> None:
    plan.unlink()


def spoil_the_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").write_text("[1, 2")


def strange_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").write_text("[]")


def link(plan: Path) -> None:
    elsewhere = plan.with_suffix(".elsewhere")
    plan.replace(elsewhere)
    plan.symlink_to(elsewhere)


def share(plan: Path) -> None:
    """A second name, through which another could write."""
    os.link(str(plan), str(plan.with_suffix(".second")))


HARM = [
    truncate, flip, exchange, empty, lose_the_side_file, lose_the_plan, spoil_the_side_file, strange_side_file, link,
    share,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: str(harm.__name__))
def test_a_plan_that_differs_in_anything_is_deleted_and_built_again(
    tmp_path: Path, harm: Callable[[Path], None], caplog: Any
) -> None:
    trt = tensorrt("10.3")
    builds = Builds(trt)
    opened(trt=trt, build=builds, cache_dir=tmp_path).close()
    read = trt.read
    harm(plan_of(tmp_path))
    engine = opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 2 and right(engine)
    assert trt.read == read + 1  # TensorRT saw the new plan only
    assert "deleted" in caplog.text
    opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 2


def test_every_flipped_byte_of_a_side_file_is_found_or_harmless(tmp_path: Path) -> None:
    key = plan_key("ab" * 32, "10.3.0", "8.7", BuildOptions())
    cache = PlanCache(tmp_path)
    for i in range(0, 420, 7):
        cache.keep_plan(key, b"a plan")
        side = Path(str(plan_of(tmp_path)) + ".json")
        contents = bytearray(side.read_bytes())
        contents[i % len(contents)] ^= 1 << i % 8
        side.write_bytes(bytes(contents))
        assert cache.load_plan(key) in (None, b"a plan")


def test_a_plan_that_tensorrt_does_not_read_is_built_again_once(tmp_path: Path) -> None:
    opened(cache_dir=tmp_path).close()
    trt = tensorrt("10.3", unreadable=1)
    builds = Builds(trt)
    engine = opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 1 and right(engine)
    with pytest.raises(EngineError, match="does not read"):
        opened(trt=tensorrt("10.3", unreadable=9), cache_dir=tmp_path)
    assert list(tmp_path.glob("*.part")) == []


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


def test_a_plan_that_cannot_be_kept_serves_all_the_same(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    def full(self: Any, name: str, contents: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PlanCache, "_write", full)
    assert right(opened(cache_dir=tmp_path))
    assert "built again at the next start" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_it_builds_and_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert right(opened())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_may_enter_is_closed_and_a_foreign_one_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert right(opened(cache_dir=folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(EngineError, match="folder of this user"):
        opened(cache_dir=tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be used"):
        opened(cache_dir=tmp_path / "file")


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
