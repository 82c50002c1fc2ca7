from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import image_paths, image_size, read_image
from PIL import Image


def _pixels(height=5, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _png_start(width, height):
    def chunk(body):
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT" + zlib.compress(bytes(1000)))


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff"])
def test_lossless_formats_give_the_very_pixels(tmp_path, suffix):
    pixels = _pixels()
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    frame = read_image(tmp_path / f"a.{suffix}")
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, pixels)
    assert image_size(tmp_path / f"a.{suffix}") == (5, 7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(tmp_path, orientation):
    upright = _pixels()
    # How a camera held the other way would have stored the same scene (EXIF 2.3, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif.tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)


def test_grey_palette_and_alpha_become_rgb(tmp_path):
    grey = _pixels()[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (5, 7, 3)
    alpha = np.dstack([_pixels(), np.zeros((5, 7), np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), _pixels())


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.arange(0, 65536, 2048, dtype=np.uint16).reshape(4, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[:, :, 0], (deep >> 8).astype(np.uint8))


@pytest.mark.parametrize("keep", [0, 3, 20, 60, 200])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_refused_at_any_length(tmp_path, suffix, keep):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(_pixels(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=rf"a\.{suffix}"):
        read_image(path)


def test_what_is_no_picture_is_refused_with_its_name(tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(SourceError, match=r"notes\.jpg is not a picture"):
        read_image(tmp_path / "notes.jpg")
    with pytest.raises(SourceError, match="no such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(SourceError):
        read_image(tmp_path)


def test_postscript_is_never_handed_to_a_decoder(tmp_path):
    Image.fromarray(_pixels()).save(tmp_path / "a.eps")
    with pytest.raises(SourceError, match="not a picture in a known format"):
        read_image(tmp_path / "a.eps")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header_alone(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(_png_start(side, side))
    for read in (read_image, image_size):
        with pytest.raises(SourceError, match="too large"):
            read(tmp_path / "bomb.png")


def test_the_pixel_limit_is_exact(tmp_path):
    Image.fromarray(_pixels(5, 7)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(SourceError, match="7 x 5 pixels, at most 34"):
        read_image(tmp_path / "a.png", max_pixels=34)


def test_paths_are_sorted_and_without_hidden_files(tmp_path):
    for name in ["b/2.JPG", "a/1.png", "a/notes.txt", "a/._1.png", ".cache/3.png", "0.webp"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in image_paths(tmp_path)]
    assert found == ["0.webp", "a/1.png", "b/2.JPG"]
    with pytest.raises(SourceError, match="no such folder"):
        image_paths(tmp_path / "absent")
    with pytest.raises(SourceError, match="it is a file"):
        image_paths(tmp_path / "0.webp")
