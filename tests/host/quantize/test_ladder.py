"""The judge tells loss from noise, and the ladder keeps in float32 just what the limits need."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from edgetl_runtime.engines import ENGINES, EngineRow, open_engine
from edgetl_runtime.labels import targets_text
from edgetl_runtime.preprocess import ImagePreprocess

from edgetl.backbones import from_module
from edgetl.building.factory_head import make_head_member, make_target_member
from edgetl.errors import QuantizeError
from edgetl.export import export_onnx
from edgetl.extraction import ExtractedPart
from edgetl.quantize import PRECISIONS, Judge, Limits, calibrate, descend, prepare
from edgetl.quantize.aware import tuned_extractor
from edgetl.quantize.candidates import JudgedSamples, build_candidates
from edgetl.quantize.fidelity import FOLDS, signal_to_noise_db
from edgetl.quantize.ladder import engine_features
from edgetl.quantize.scoring import NumberScoring
from tests.runtime import golden

LABELS = golden.labels()
TENSORS = [frame.reshape(1, 8, 8, 1) for frame in golden.frames()]
U8S8 = PRECISIONS["u8s8"]


def fit(features: Any, labels: list[str]) -> Any:
    nothing = ExtractedPart(features[:0], [], [], [], 0)
    return make_head_member("slda", {}, "", ExtractedPart(features, labels, [], [], 0), nothing).factory


class Ruined(torch.nn.Module):
    """In each ruined layer a huge weight on a channel that is always 0 leaves 8 bits nothing for the others."""

    def __init__(self, ruined: tuple[int, ...], weight: float) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = torch.nn.ModuleList([torch.nn.Conv2d(1 if i == 0 else 8, 8, 3, padding=1) for i in range(4)])
        with torch.no_grad():
            for i in ruined:
                self.layers[i - 1].weight[0] = 0.0
                self.layers[i - 1].bias[0] = -1.0
                self.layers[i].weight[:, 0] = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def extractor(*ruined: int, weight: float = 100.0) -> Any:
    network = Ruined(ruined, weight).eval()
    return from_module(network, ImagePreprocess(8, 8, channels="L"), 0.0, 1 / 64, name="ruined")


@pytest.fixture(scope="module")
def graph() -> bytes:
    return export_onnx(extractor(2))


@pytest.fixture(scope="module")
def ranges(graph: bytes) -> Any:
    return calibrate(prepare(graph), TENSORS[:40])


@pytest.fixture(scope="module")
def judge(graph: bytes) -> Judge:
    return Judge(engine_features(graph, TENSORS, "onnxruntime", 1), LABELS, fit)


def test_equal_features_lose_nothing(judge: Judge) -> None:
    found = judge.fidelity(judge.reference.copy())
    assert (found.drop, found.drop_error, found.agreement, found.max_abs) == (0.0, 0.0, 100.0, 0.0)
    assert (found.cosine_min, found.snr_db, found.samples) == (1.0, 200.0, len(LABELS))
    assert found.holds(Limits(0.0, 100.0))


def test_the_score_is_of_samples_that_no_head_has_seen(judge: Judge) -> None:
    """A head that had seen them would answer noise right; these cannot do better than chance."""
    noise = np.random.default_rng(0).normal(size=(len(LABELS), 40)).astype(np.float32)
    found = Judge(noise, LABELS, fit)
    seen = np.mean([a == b for a, b in zip(fit(noise, LABELS).predict(noise), LABELS, strict=True)])
    assert found.fidelity(noise).float_accuracy < 0.25 < seen
    assert FOLDS == 5


def test_the_more_noise_the_more_is_lost_and_the_error_says_how_sure_that_is(judge: Judge) -> None:
    random, spread = np.random.default_rng(0), judge.reference.std(axis=0)
    found = []
    for level in (0.05, 0.5, 3.0):
        noisy = judge.reference + (level * spread * random.normal(size=judge.reference.shape)).astype(np.float32)
        found.append(judge.fidelity(noisy))
        assert found[-1].snr_db == pytest.approx(-20 * np.log10(level), abs=1.0)
        moved = 1 - found[-1].agreement / 100
        assert found[-1].drop_error <= 100 * np.sqrt(moved / len(LABELS)) + 1e-9
    assert found[0].agreement > found[1].agreement > found[2].agreement
    assert found[0].drop < found[2].drop and not found[2].holds(Limits())


def test_what_another_engine_makes_of_it_is_answered_by_heads_of_the_first(judge: Judge) -> None:
    moved = judge.reference + 5 * judge.reference.std()
    own, served = judge.fidelity(moved), judge.fidelity(judge.reference, served=moved)
    assert own.agreement > 99 and served.agreement < 80


def test_features_and_limits_that_make_no_sense_are_refused(judge: Judge) -> None:
    for bad in (np.full_like(judge.reference, np.nan), judge.reference[:, :-1], judge.reference[:-1]):
        with pytest.raises(QuantizeError):
            judge.fidelity(bad)
    with pytest.raises(QuantizeError, match="two labelled samples"):
        Judge(judge.reference[:1], LABELS[:1], fit)
    for drop, agreement in ((-1, 98), (0.5, 101), (float("nan"), 98)):
        with pytest.raises(QuantizeError, match="limits"):
            Limits(drop, agreement)


def test_numbers_are_judged_by_r2_and_by_differences_that_matter() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 6)).astype(np.float32)
    targets = features @ random.normal(size=(6, 2)) + 0.1 * random.normal(size=(200, 2))
    labels = [targets_text(row) for row in targets]

    def fit_numbers(rows: Any, texts: list[str]) -> Any:
        return make_target_member("ridge", {}, "", ExtractedPart(rows, texts, [], [], 0), 2).factory

    numbers = Judge(features, labels, fit_numbers, NumberScoring(targets))
    same = numbers.fidelity(features)
    assert same.float_accuracy > 0.95 and (same.drop, same.agreement) == (0.0, 100.0)
    near = numbers.fidelity(features + np.float32(1e-4) * random.normal(size=features.shape).astype(np.float32))
    far = numbers.fidelity(features + random.normal(size=features.shape).astype(np.float32))
    assert near.holds(Limits()) and not far.holds(Limits())
    assert far.drop > 10 and far.agreement < 50


def test_the_layer_that_int8_ruins_is_found_and_kept_in_float(ranges: Any, judge: Judge) -> None:
    found = descend(ranges, U8S8, judge, TENSORS, Limits(), threads=1, calibration_samples=40)
    gains = {loss.name: loss.gain_db for loss in found.groups}
    worst = max(gains, key=lambda name: gains[name])
    assert worst == "layer 3 (Conv)" and gains[worst] > 6
    assert not found.rungs[0].holds and found.rungs[0].what == "every layer in INT8"
    assert found.graph is not None and worst in found.kept and worst in found.why
    assert found.rungs[-1].fidelity["onnxruntime"].holds(Limits())
    again = judge.fidelity(engine_features(found.graph, TENSORS, "onnxruntime", 1))
    assert again == found.rungs[-1].fidelity["onnxruntime"]
    assert np.array_equal(found.features, engine_features(found.graph, TENSORS, "onnxruntime", 1))


def test_a_network_that_int8_suits_keeps_nothing_in_float() -> None:
    plain = export_onnx(extractor())
    judged = Judge(engine_features(plain, TENSORS, "onnxruntime", 1), LABELS, fit)
    found = descend(calibrate(prepare(plain), TENSORS[:40]), U8S8, judged, TENSORS, Limits(5.0, 90.0), threads=1)
    assert found.kept == () and len(found.rungs) == 1 and found.graph is not None


def test_limits_that_nothing_holds_end_without_a_graph_and_say_so() -> None:
    plain = export_onnx(extractor(1, 2, 3))
    judged = Judge(engine_features(plain, TENSORS, "onnxruntime", 1), LABELS, fit)
    found = descend(calibrate(prepare(plain), TENSORS[:40]), U8S8, judged, TENSORS, Limits(0.0, 100.0), threads=1)
    assert found.graph is None and found.kept == ()
    assert "no rung of u8s8 holds" in found.why and len(found.rungs) > 1


class Negated:
    """An engine that computes something else, as one did with SqueezeNet in symmetric INT8."""

    def __init__(self, graph: bytes, threads: int | None) -> None:
        self._engine = open_engine("onnxruntime", graph, threads=threads)
        self.inputs, self.outputs, self.description = self._engine.inputs, self._engine.outputs, "negated 1"

    def run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: -value for name, value in self._engine.run(tensors).items()}

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def negated(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("negated_engine")
    module.load = lambda graph, threads=None, *, cache_dir=None, progress=None: Negated(graph, threads)  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "negated_engine", module)
    monkeypatch.setitem(ENGINES, "negated", EngineRow("negated_engine", "json", "it is here"))
    return "negated"


def test_an_engine_that_computes_the_graph_otherwise_is_named_and_not_waited_for(
    ranges: Any, judge: Judge, negated: str
) -> None:
    engines = ("onnxruntime", negated)
    found = descend(ranges, U8S8, judge, TENSORS, Limits(), engines=engines, threads=1)
    assert found.graph is not None and "dB of onnxruntime's" in found.deviating[negated]
    assert all(negated not in rung.fidelity for rung in found.rungs)


def test_tuning_makes_the_network_lose_less_and_leaves_the_given_one() -> None:
    given = extractor(2, weight=4.0)
    plain = export_onnx(given)
    reference = engine_features(plain, TENSORS, "onnxruntime", 1)

    def nearness(float_graph: bytes) -> float:
        quantized = calibrate(prepare(float_graph), TENSORS[:40]).graph(U8S8)
        return signal_to_noise_db(reference, engine_features(quantized, TENSORS, "onnxruntime", 1))

    steps: list[int] = []
    tuned = tuned_extractor(
        given, TENSORS, 4, learning_rate=5e-4, progress=lambda step: steps.append(step.done)
    )
    assert export_onnx(given) == plain
    assert steps == list(range(1, 4 * 13 + 1))
    assert nearness(export_onnx(tuned)) > nearness(plain) + 6
    again = tuned_extractor(given, TENSORS[:32], 1)
    assert export_onnx(again) == export_onnx(tuned_extractor(given, TENSORS[:32], 1)), "tuning is repeatable"
    assert tuned.provenance["quantization_aware_epochs"] == 4


def test_tuning_is_asked_for_once_and_only_where_no_rung_holds() -> None:
    given = export_onnx(extractor(1, 2, 3, weight=20.0))
    reference = engine_features(given, TENSORS, "onnxruntime", 1)
    samples = JudgedSamples(TENSORS, reference, LABELS, 160)
    judged, asked = Judge(reference, LABELS, fit), []

    def tune() -> bytes:
        """The same function by other weights: what nothing depends on is 0."""
        asked.append(1)
        return export_onnx(extractor(1, 2, 3, weight=0.0))

    def built(limits: Limits, **options: Any) -> Any:
        return build_candidates(given, ["u8s8", "s8s8"], judged, samples, limits, threads=1, **options)

    strict = Limits(2.5, 93.0)
    assert all(found.graph is None for found in built(strict).values())
    tuned = built(strict, tune=tune, tuned_epochs=6)
    assert asked == [1]
    for found in tuned.values():
        assert found.graph is not None and found.tuned_epochs == 6 and len(found.descents) == 2
        assert found.why.startswith("after 6 epochs of quantization-aware tuning")
    loose = built(Limits(100.0, 0.0), tune=tune, tuned_epochs=6)
    assert asked == [1] and all(found.tuned_epochs == 0 for found in loose.values())


def test_what_cannot_be_tuned_is_said(graph: bytes) -> None:
    given = extractor()
    with pytest.raises(QuantizeError, match="one epoch"):
        tuned_extractor(given, TENSORS, 0)
    with pytest.raises(QuantizeError, match="one sample"):
        tuned_extractor(given, [], 1)
    with pytest.raises(QuantizeError, match="NaN"):
        tuned_extractor(given, TENSORS[:32], 2, learning_rate=1e30)
