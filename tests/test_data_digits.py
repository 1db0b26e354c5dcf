"""The handwritten digits, and a picture of one's own."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tinygrad_attn import data
from tinygrad_attn.extras import ExtraError


# ── digits ──────────────────────────────────────────────────────────────────────────────────────
def test_digits_are_split_evenly_and_share_no_place():
    drawn, again, other = data.digits(seed=3), data.digits(seed=3), data.digits(seed=4)
    assert len(drawn.train) + len(drawn.test) == 1_797
    assert drawn.train.images.shape[1:] == (8, 8)
    assert drawn.train.images.dtype == np.float32
    assert drawn.train.images.min() == 0
    assert drawn.train.images.max() == 1
    shares = np.bincount(drawn.test.labels) / np.bincount(
        np.concatenate([drawn.train.labels, drawn.test.labels])
    )
    np.testing.assert_allclose(shares, 0.2, atol=0.004)
    assert (drawn.train.images == again.train.images).all()
    assert (drawn.test.labels != other.test.labels).any()


def test_digits_are_all_there_once():
    drawn = data.digits()
    rows = np.concatenate([drawn.train.images, drawn.test.images]).reshape(-1, 64) * 16
    labels = np.concatenate([drawn.train.labels, drawn.test.labels])
    assert sorted(map(tuple, np.column_stack([rows, labels]))) == sorted(
        map(tuple, np.column_stack([load_digits().data, load_digits().target]))
    )


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ExtraError, match=r'scikit-learn.*: pip install "tinygrad_attn\[demo\]"'):
        data.digits()


# ── a picture of a digit ─────────────────────────────────────────────────────────────────────────
def saved_image(tmp_path, pixels):
    from matplotlib.image import imsave

    path = tmp_path / "digit.png"
    imsave(path, pixels, cmap="gray", vmin=0, vmax=1)
    return path


@pytest.mark.parametrize("ground", [0, 1])
def test_a_picture_becomes_a_digit_of_8_by_8(tmp_path, ground):
    """A bar: cut out, centred in a square of its height, each cell the mean of what it covers."""
    pixels = np.full((50, 70), float(ground))
    pixels[5:45, 20:30] = 1 - ground  # 40 × 10 in a square of 40: two columns of 5 in the middle
    small = data.image(saved_image(tmp_path, pixels))
    expected = np.zeros((8, 8))
    expected[:, 3:5] = 1
    np.testing.assert_allclose(small, expected, atol=1e-6)
    assert small.dtype == np.float32


def test_uneven_areas_are_shared(tmp_path):
    pixels = np.zeros((5, 9))
    pixels[1:4, 3:6] = [[1, 1, 1], [1, 0.5, 1], [1, 1, 1]]
    small = data.image(saved_image(tmp_path, pixels), 2)
    mean = (1 + 0.5 + 0.5 + 0.25 * 0.5) / 2.25
    np.testing.assert_allclose(small, np.full((2, 2), mean / mean), atol=0.01)


def test_a_transparent_ground_is_white(tmp_path):
    from matplotlib.image import imsave

    pixels = np.zeros((10, 10, 4))
    pixels[2:8, 2:8, 3] = 1  # black on nothing
    path = tmp_path / "digit.png"
    imsave(path, pixels)
    np.testing.assert_allclose(data.image(path), np.ones((8, 8)), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"words", "expected a picture"), (None, "expected a picture")]
)
def test_a_file_that_is_no_picture(tmp_path, content, sentence):
    path = tmp_path / "digit.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=sentence):
        data.image(path)


@pytest.mark.parametrize("size", ["99999999 99999999", "20000 20000"])
def test_a_picture_that_is_far_too_large(tmp_path, size):
    path = tmp_path / "digit.ppm"
    path.write_bytes(f"P6 {size} 255\n".encode())
    with pytest.raises(data.DataError, match=r"expected a picture.*exceeds limit"):
        data.image(path)


def test_a_damaged_picture_is_one_sentence(tmp_path):
    """Pillow warns of it too, and warnings are errors here."""
    from PIL import Image

    path = tmp_path / "digit.tiff"
    Image.new("L", (9, 9)).save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(data.DataError, match="expected a picture"):
        data.image(path)


def test_a_picture_that_is_large_is_no_warning(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    pixels = np.zeros((10, 10), np.uint8)
    pixels[2:8, 2:8] = 255
    path = tmp_path / "digit.tiff"
    Image.fromarray(pixels).save(path)
    np.testing.assert_allclose(data.image(path), np.ones((8, 8)))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_every_kind_of_colours(tmp_path, mode, suffix):
    from PIL import Image

    pixels = np.full((10, 10), 255, np.uint8)
    pixels[2:8, 4:6] = 0
    path = tmp_path / f"digit.{suffix}"
    Image.fromarray(pixels).convert(mode).save(path)
    expected = np.repeat([[0, 0, 1 / 3, 1, 1, 1 / 3, 0, 0]], 8, axis=0)
    np.testing.assert_allclose(data.image(path), expected, atol=1e-6)


def test_an_empty_picture(tmp_path):
    with pytest.raises(data.DataError, match="nothing stands out"):
        data.image(saved_image(tmp_path, np.ones((9, 9))))
