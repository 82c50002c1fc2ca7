"""Bundles of text, and bundles that know their classes by name: built, opened, asked and taught."""

from __future__ import annotations

import json

import edgetl_runtime as rt
import numpy as np
import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.members import GuardSet, read_head
from edgetl_runtime.cli import main as device
from edgetl_runtime.errors import LabelError
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from safetensors.numpy import save_file

import edgetl
from edgetl.building.class_vectors import ClassVectors, add_class_vectors, read_class_names, read_class_vectors
from edgetl.cli import main as host
from edgetl.errors import DatasetError
from edgetl.features import reference_features
from tests.host.building.test_build import FRAMES, LABELS, image_extractor
from tests.host.text_encoders import write_encoder
from tests.runtime import texts

pytest.importorskip("tokenizers")
SAID, CLASSES = [text for text, _ in texts.TEXTS], [label for _, label in texts.TEXTS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def bundle(encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("text") / "house.edgetl"
    built = edgetl.build(f"text:{encoder}", edgetl.dataset(SAID * 3, CLASSES * 3, holdout=0.0), out=out)
    assert built.decisions_agreed == 1.0 and built.parity.max_rel < 1e-5
    return out


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_bundle_of_text_decides_on_a_device_as_on_the_host(engine, bundle, encoder, tmp_path):
    pytest.importorskip(engine)
    read = read_bundle(bundle)
    assert read.manifest.format == (1, 1) and json.loads(read.members["tokenizer.json"])["padding"] is None
    with rt.open(bundle, tmp_path / "state", allow_unsigned=True, engine=engine) as session:
        extractor = edgetl.extractor(f"text:{encoder}")
        rows = reference_features(extractor, np.concatenate([extractor.preprocess.apply(text) for text in SAID]))
        np.testing.assert_allclose(np.stack([session.features(text) for text in SAID]), rows, atol=1e-5)
        factory = read_head(read, read.manifest.variants[0]).factory
        assert [one.label for one in session.predict_many(SAID)] == list(factory.predict(rows))
        session.learn("heating warm", "heating", on_purpose=True)
        assert session.predict("heating warm").label == "heating"


@pytest.mark.slow
def test_the_precisions_of_a_board_are_judged_on_text_too(encoder, tmp_path):
    data = edgetl.dataset(SAID * 6, CLASSES * 6)
    built = edgetl.build(f"text:{encoder}", data, out=tmp_path / "b.edgetl", devices=["jetson-orin-nano"])
    shipped = {variant.name: variant.shipped for variant in built.variants}
    assert set(shipped) == {"fp32", "fp16", "s8s8"} and shipped["fp32"] and shipped["fp16"]
    with rt.open(built.path, tmp_path / "state", allow_unsigned=True, variant="fp16", engine="onnxruntime") as session:
        half = np.stack([session.features(text) for text in SAID])
    with rt.open(built.path, tmp_path / "whole", allow_unsigned=True, variant="fp32", engine="onnxruntime") as session:
        np.testing.assert_allclose(half, [session.features(text) for text in SAID], atol=5e-3)


def test_text_and_other_data_are_not_mixed(bundle, encoder, tmp_path):
    frames = edgetl.dataset(FRAMES, LABELS)
    with pytest.raises(DatasetError, match="takes text"):
        edgetl.build(f"text:{encoder}", frames, out=tmp_path / "x.edgetl")
    with pytest.raises(DatasetError, match="holds text"):
        edgetl.build(image_extractor(), edgetl.dataset(SAID, CLASSES), out=tmp_path / "x.edgetl")
    with pytest.raises(rt.errors.SampleError, match="takes text"), rt.open(
        bundle, tmp_path / "state", allow_unsigned=True
    ) as session:
        session.predict(FRAMES[0])


def test_the_commands_build_ask_and_teach_by_names_alone(encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text("lights: turn the light off\nlights: dim the lights\nmusic: play the radio\n\nheating\n")
    assert read_class_names(names) == {
        "lights": ("turn the light off", "dim the lights"), "music": ("play the radio",), "heating": ("heating",)
    }  # fmt: skip
    assert host(["build", "--backbone", f"text:{encoder}", "--class-names", str(names), "--out", "n.edgetl"]) == 0
    assert "3 classes, 0 training samples" in capsys.readouterr().out
    state = ["--state", "state", "--allow-unsigned"]
    assert device(["install", "n.edgetl", *state]) == 0
    capsys.readouterr()
    assert device(["predict", "--text", "play the radio", *state]) == 0
    assert "\tmusic\t" in capsys.readouterr().out
    member = read_head(read_bundle("n.edgetl"), read_bundle("n.edgetl").manifest.variants[0])
    assert member.source.classes == ("heating", "lights", "music") and member.exact
    assert host(["build", "--backbone", f"text:{encoder}", "--out", "n.edgetl"]) == 1
    assert "class_names" in capsys.readouterr().err


def test_a_class_vector_counts_as_samples_about_it_exactly():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(3, 6)).astype(np.float32)
    named = ClassVectors(("a", "b", "c"), vectors, 2.5)
    statistics = Statistics(6, vectors.mean(axis=0))
    add_class_vectors(statistics, named, 0.3)
    np.testing.assert_allclose(statistics.counts, 2.5)
    np.testing.assert_allclose(statistics.means() + statistics.shift, vectors, atol=1e-12)
    np.testing.assert_allclose(statistics.within_scatter(), 3 * 2.5 * 0.3 * np.eye(6), atol=1e-12)
    # Learnt before or after, merged or forgotten again: the same sums.
    rows, labels = random.normal(size=(20, 6)).astype(np.float32), ["a", "d"] * 10
    learnt = Statistics(6, statistics.shift)
    learnt.add(rows, labels)
    whole, again = statistics + learnt, Statistics(6, statistics.shift)
    again.add(rows, labels)
    add_class_vectors(again, named, 0.3)
    np.testing.assert_allclose(whole.moments.gram, again.moments.gram, atol=1e-12)
    np.testing.assert_allclose((whole - learnt).moments.gram, statistics.moments.gram, atol=1e-12)


def test_images_start_from_any_matrix_of_class_vectors_and_learn_on(tmp_path):
    extractor, pool = image_extractor(), np.arange(len(FRAMES)) % 2 == 0
    labels = np.array(LABELS)
    opened = edgetl.build(extractor, edgetl.dataset(FRAMES, LABELS), out=tmp_path / "all.edgetl")
    with rt.open(opened.path, tmp_path / "first", allow_unsigned=True) as session:
        rows = np.stack([session.features(frame) for frame in FRAMES])
    vectors = {name: rows[pool & (labels == name)].mean(axis=0) for name in sorted(set(LABELS))}
    built = edgetl.build(
        extractor, class_vectors=vectors, background=list(FRAMES[pool]), out=tmp_path / "named.edgetl", head="slda"
    )
    assert built.classes == tuple(sorted(vectors)) and built.training_samples == 0
    guard = GuardSet.unpack(read_bundle(built.path).members["guard.safetensors"], "guard", {"fp32": 32}, 10)
    assert len(guard.labels) == 0
    nearest = [min(vectors, key=lambda name: np.linalg.norm(row - vectors[name])) for row in rows]
    with rt.open(built.path, tmp_path / "second", allow_unsigned=True, policy="immediate") as session:
        said = np.array([one.label for one in session.predict_many(FRAMES)])
        assert (said == nearest).mean() > 0.99  # a round spread decides by the nearest mean
        before = (said == labels)[~pool].mean()
        taught = np.flatnonzero(pool)[:60]
        session.learn_many(FRAMES[taught], list(labels[taught]))
        after = (np.array([one.label for one in session.predict_many(FRAMES[~pool])]) == labels[~pool]).mean()
        assert after > before
        # The head of the device is the one of all sums together.
        member = read_head(read_bundle(built.path), read_bundle(built.path).manifest.variants[0])
        learnt = Statistics(32, member.source.shift, member.source.feature_space)
        learnt.add(rows[taught], list(labels[taught]))
        pooled = fit_head("slda", learnt, prior=member.source, **member.options)
        assert list(pooled.predict(rows)) == [one.label for one in session.predict_many(FRAMES)]


def test_names_stand_beside_labelled_samples(encoder, tmp_path):
    data, names = edgetl.dataset(SAID * 3, CLASSES * 3, holdout=0.0), {"heating": ["heating warm"]}
    built = edgetl.build(f"text:{encoder}", data, class_names=names, out=tmp_path / "b.edgetl")
    assert built.classes == ("heating", "lights", "music") and built.training_samples > 0
    with rt.open(built.path, tmp_path / "state", allow_unsigned=True) as session:
        assert session.predict("heating warm").label == "heating"


def test_class_vectors_are_read_from_files(tmp_path):
    vectors = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([3.0, 4.0], np.float32)}
    save_file(vectors, tmp_path / "v.safetensors")
    (tmp_path / "v.csv").write_text("a,1,2\nb,3,4\n")
    np.save(tmp_path / "v.npy", np.stack(list(vectors.values())))
    (tmp_path / "v.txt").write_text("a\nb\n")
    for suffix in (".safetensors", ".csv", ".npy"):
        read = read_class_vectors((tmp_path / "v").with_suffix(suffix))
        assert {name: row.tolist() for name, row in read.items()} == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    (tmp_path / "twice.csv").write_text("a,1,2\na,3,4\n")
    (tmp_path / "words.csv").write_text("a,one,two\n")
    (tmp_path / "v.txt").write_text("a\n")
    for name in ("twice.csv", "words.csv", "v.npy", "none.csv", "v.json"):
        with pytest.raises(DatasetError):
            read_class_vectors(tmp_path / name)


def test_what_cannot_name_a_class_is_refused(encoder, tmp_path):
    out, extractor = tmp_path / "x.edgetl", image_extractor()
    right = {name: np.zeros(32, np.float32) + number for number, name in enumerate("ab")}
    cases = [
        ({"class_vectors": {**right, "c": np.zeros(5)}}, "32 finite numbers"),
        ({"class_vectors": {**right, "c": np.full(32, np.nan)}}, "finite"),
        ({"class_vectors": right}, "background="),
        ({"class_vectors": right, "class_weight": 0.0, "background": list(FRAMES)}, "class_weight"),
        ({"class_names": ["a", "b"]}, "takes no text"),
        ({}, "class_vectors"),
    ]  # fmt: skip
    for options, words in cases:
        with pytest.raises(DatasetError, match=words):
            edgetl.build(extractor, out=out, **options)
    for names in (["", "b"], {"a": []}):
        with pytest.raises(LabelError):
            edgetl.build(f"text:{encoder}", class_names=names, out=out)
    with pytest.raises(ValueError, match="cannot start from class vectors"):
        edgetl.build(f"text:{encoder}", class_names=["a", "b"], head="knn", out=out)
    assert not out.exists()
