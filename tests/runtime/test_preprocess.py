"""What a frame or an array becomes, without torch: the properties that hold for every size."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from edgetl_runtime.errors import SampleError
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess, parse_preprocess
from edgetl_runtime.windows import WindowSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

FILTERS = {"nearest": 0, "bilinear": 2, "bicubic": 3, "lanczos": 1}

MOTION = WindowSpec(9, 3, 50.0, ("ax", "ay"), ("g", "g"), "mean")


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def whole_then_crop(frame, preprocess):
    """The definition: resize the whole frame, rows first, then cut out the centre by torchvision's rounding."""
    height, width = frame.shape[:2]
    if preprocess.resize is None:
        new_width, new_height = preprocess.width, preprocess.height
    elif width <= height:
        new_width, new_height = preprocess.resize, int(preprocess.resize * height / width)
    else:
        new_width, new_height = int(preprocess.resize * width / height), preprocess.resize
    code = FILTERS[preprocess.interpolation]
    image = Image.fromarray(frame).resize((new_width, height), code).resize((new_width, new_height), code)
    left = round((new_width - preprocess.width) / 2.0)
    top = round((new_height - preprocess.height) / 2.0)
    return np.asarray(image.crop((left, top, left + preprocess.width, top + preprocess.height)))


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    crop=st.integers(1, 64),
    extra=st.one_of(st.none(), st.integers(0, 40)),
    interpolation=st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    seed=st.integers(0, 2**31),
)
def test_resize_and_crop_in_one_pass_is_at_most_one_grey_level_from_two(
    height, width, crop, extra, interpolation, seed
):
    preprocess = ImagePreprocess(crop, crop, None if extra is None else crop + extra, interpolation)
    frame = noise(height, width, seed=seed)
    difference = preprocess.apply(frame)[0].astype(int) - whole_then_crop(frame, preprocess)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("size", [(224, 224), (232, 240), (720, 1280), (1280, 720), (256, 256)])
@pytest.mark.parametrize(("crop", "resize"), [(224, 232), (224, 256), (299, 342)])
def test_camera_sizes_are_at_most_one_grey_level_off_even_on_noise(size, crop, resize):
    # 224 -> 232 has exact ties every 29 pixels in both directions: the sizes that were two levels off once.
    for interpolation in ("bilinear", "bicubic"):
        preprocess = ImagePreprocess(crop, crop, resize, interpolation)
        frame = noise(*size)
        difference = preprocess.apply(frame)[0].astype(int) - whole_then_crop(frame, preprocess)
        assert np.abs(difference).max() <= 1
        assert (difference != 0).mean() < 0.01


@pytest.mark.parametrize("shape", [(480, 640, 3), (33, 517, 3), (1, 1, 3), (1, 5000, 3), (700, 2, 3), (64, 64), (9, 7)])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
@pytest.mark.parametrize("resize", [None, 40])
def test_every_frame_becomes_the_declared_tensor(shape, channels, resize):
    preprocess = ImagePreprocess(32, 40, resize, channels=channels)
    tensor = preprocess.apply(np.full(shape, 77, np.uint8))
    assert (tensor.shape, tensor.dtype) == (preprocess.input.shape, np.dtype(preprocess.input.dtype))
    assert tensor.flags.c_contiguous
    assert (tensor == 77).all()  # a flat frame stays flat at every size: weights sum to one, no border leaks in


def test_a_frame_of_the_right_size_passes_unchanged():
    frame = noise(48, 64)
    assert (ImagePreprocess(48, 64).apply(frame)[0] == frame).all()
    assert (ImagePreprocess(32, 32, resize=48).apply(frame)[0] == frame[8:40, 16:48]).all()


def test_bgr_is_rgb_with_its_channels_turned_round():
    frame = noise(90, 121)
    rgb = ImagePreprocess(32, 32, 36).apply(frame)
    assert (ImagePreprocess(32, 32, 36, channels="BGR").apply(frame) == rgb[..., ::-1]).all()


def test_a_grey_frame_is_repeated_for_a_colour_network():
    tensor = ImagePreprocess(16, 16).apply(noise(30, 30, channels=0))
    assert (tensor[..., :1] == tensor).all()


def test_strided_and_read_only_frames_are_taken_and_left_alone():
    big = noise(120, 160)
    view = big[::2, ::-1]
    view.flags.writeable = False
    before = big.copy()
    preprocess = ImagePreprocess(32, 32, 40)
    assert (preprocess.apply(view) == preprocess.apply(np.ascontiguousarray(view))).all()
    assert (big == before).all()


def test_the_tensor_does_not_share_memory_with_the_frame():
    for channels, frame in (("L", noise(16, 16, channels=0)), ("RGB", noise(16, 16))):
        tensor = ImagePreprocess(16, 16, channels=channels).apply(frame)
        assert not np.shares_memory(tensor, frame)


@pytest.mark.parametrize(
    "sample",
    [
        None,
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 16385, 3), np.uint8),
        "frame.jpg",
        [[1, 2], [3]],
    ],
)
def test_what_is_not_a_frame_is_a_sample_error(sample):
    with pytest.raises(SampleError):
        ImagePreprocess(8, 8).apply(sample)


@pytest.mark.parametrize(
    "sample", [np.zeros(5), np.full((2, 3), np.nan), np.full((2, 3), 1e300), np.array([["a"] * 3] * 2), None]
)
def test_what_is_not_the_declared_array_is_a_sample_error(sample):
    with pytest.raises(SampleError):
        ArrayPreprocess((2, 3)).apply(sample)


def test_an_array_of_any_number_type_becomes_float32():
    for dtype in (np.int8, np.uint16, np.int64, np.float16, np.float64):
        tensor = ArrayPreprocess((2, 3)).apply(np.arange(6).reshape(2, 3).astype(dtype))
        assert tensor.dtype == np.float32 and tensor.shape == (1, 2, 3)
        assert (tensor.ravel() == np.arange(6)).all()


@pytest.mark.parametrize(
    "preprocess",
    [
        ImagePreprocess(224, 200, 256, "bicubic", "BGR"), ImagePreprocess(28, 28, channels="L"),
        ArrayPreprocess((20, 6)), ArrayPreprocess((20, 6), WindowSpec(20, 10, 20.0)), ArrayPreprocess((9, 2), MOTION),
    ],
)
def test_a_declaration_survives_the_manifest(preprocess):
    assert parse_preprocess(json.loads(json.dumps(preprocess.to_json()))) == preprocess


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"kind": "sound"},
        {"kind": "array", "shape": []},
        {"kind": "array", "shape": [0]},
        {"kind": "array", "shape": [True]},
        {"kind": "array", "shape": [2], "more": 1},
        {"kind": "array", "shape": [9, 2], "window": []},
        {"kind": "array", "shape": [9, 2], "window": {"length": 9}},
        {"kind": "array", "shape": [8, 2], "window": MOTION.to_json()},
        {"kind": "array", "shape": [9, 3], "window": MOTION.to_json()},
        {"kind": "array", "shape": [9, 2], "window": {**MOTION.to_json(), "rate_hz": 0}},
        {**ImagePreprocess(8, 8).to_json(), "height": 8.0},
        {**ImagePreprocess(8, 8).to_json(), "height": 10**9},
        {**ImagePreprocess(8, 8).to_json(), "resize": 7},
        {**ImagePreprocess(8, 8).to_json(), "interpolation": "magic"},
        {**ImagePreprocess(8, 8).to_json(), "interpolation": ["bilinear"]},
        {**ImagePreprocess(8, 8).to_json(), "channels": {}},
        {**ImagePreprocess(8, 8).to_json(), "resize": True},
        {"kind": "array", "shape": [16384] * 4},
        {**ImagePreprocess(8, 8).to_json(), "flip": True},
    ],
)
def test_a_declaration_that_is_not_understood_is_refused(declared):
    with pytest.raises(ValueError):
        parse_preprocess(declared)


def test_the_pixels_are_the_same_on_every_pillow():
    # A device may run Pillow 10 and its host 13, which orders the two passes of a resize anew.
    digest = hashlib.sha256()
    generator = np.random.default_rng(0)
    for height, width in [(480, 640), (720, 1280), (1280, 720), (3, 200), (300, 2), (100, 100), (333, 777)]:
        frame = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for preprocess in (
            ImagePreprocess(224, 224, 256),
            ImagePreprocess(224, 224, 232, "bicubic"),
            ImagePreprocess(28, 28, channels="L"),
            ImagePreprocess(64, 96, None, "bicubic"),
            ImagePreprocess(96, 96, 100, "lanczos"),
        ):
            digest.update(preprocess.apply(frame).tobytes())
    assert digest.hexdigest().startswith("f282c3e71bc7f564")
