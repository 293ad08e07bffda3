"""Images and tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.accuracy import (
    TOLERANCES,
    BadAnswer,
    CheckerError,
    Tolerance,
    check_images,
    check_tensor,
    max_difference,
    psnr,
    ssim,
)

Bytes = NDArray[np.uint8]
seeds = st.integers(0, 2**31)
y, x = np.mgrid[0:24, 0:31]
PLAIN: Bytes = ((x * 37 + y * 91 + (x * y) % 17 * 5) % 256).astype(np.uint8)
DARKER: Bytes = ((PLAIN.astype(int) * 9 // 10 + (x * x + 3 * y) % 23) % 256).astype(np.uint8)
BANDED: Bytes = np.clip(PLAIN.astype(int) + 40 * ((x // 3 + y // 2) % 3) - (x * y) % 29, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("answer", "likeness", "ratio"),
    [
        (DARKER, 0.9903259394251077, 27.979595719212366),
        (BANDED, 0.8929444137375948, 16.140705935268283),
        (255 - PLAIN, -0.9728678141524194, 4.69485648976356),
    ],
)
def test_grey_images_are_as_alike_as_scikit_image_finds(answer: Bytes, likeness: float, ratio: float) -> None:
    """Figures of scikit-image 0.26, with gaussian_weights, sigma=1.5 and use_sample_covariance=False."""
    assert ssim(PLAIN, answer) == pytest.approx(likeness, rel=1e-9)
    assert psnr(PLAIN, answer) == pytest.approx(ratio, rel=1e-12)
    assert max_difference(PLAIN, answer) == np.abs(PLAIN.astype(int) - answer.astype(int)).max()


def test_colour_images_are_as_alike_as_scikit_image_finds() -> None:
    right = np.stack([PLAIN, PLAIN[::-1], PLAIN[:, ::-1]], -1)
    answer = np.stack([DARKER, DARKER[::-1], PLAIN[:, ::-1]], -1)
    assert ssim(right, answer) == pytest.approx(0.9935506262834052, rel=1e-9)
    assert psnr(right, answer) == pytest.approx(29.74050830976918, rel=1e-12)


def test_the_span_of_pixels_changes_nothing() -> None:
    def scaled(image: Bytes) -> NDArray[np.float64]:
        return image / 255 * 2 - 1

    assert ssim(scaled(PLAIN), scaled(BANDED), span=(-1, 1)) == pytest.approx(ssim(PLAIN, BANDED))
    assert psnr(scaled(PLAIN), scaled(BANDED), span=(-1, 1)) == pytest.approx(psnr(PLAIN, BANDED))
    wide = [image.astype(np.uint16) * 257 for image in (PLAIN, BANDED)]
    assert ssim(*wide) == pytest.approx(ssim(PLAIN, BANDED))


def test_psnr_by_hand() -> None:
    """Off by 5 everywhere: 20 log10(255 / 5)."""
    assert psnr(np.full((2, 3), 7, np.uint8), np.full((2, 3), 12, np.uint8)) == pytest.approx(20 * math.log10(51))


def image(seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(60, 196, size=(16, 14, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_the_same_images_pass(seed: int) -> None:
    one = image(seed)
    assert (psnr(one, one), max_difference(one, one)) == (math.inf, 0)
    assert ssim(one, one) == pytest.approx(1, abs=1e-12)
    assert check_images([one, one], [one, one.copy()], psnr_min=90, ssim_min=0.999999, difference_max=0).passed


@settings(deadline=None, max_examples=25)
@given(seeds, seeds)
def test_likeness_is_symmetric(one: int, two: int) -> None:
    a, b = image(one), image(two)
    for measure in (psnr, ssim, max_difference):
        assert measure(a, b) == pytest.approx(measure(b, a))


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(0, 30), st.integers(0, 30))
def test_more_noise_is_never_more_alike(seed: int, few: int, many: int) -> None:
    few, many = sorted((few, many))
    right = image(seed).astype(int)
    noise = np.random.default_rng(seed + 1).choice([-2, -1, 1, 2], size=right.shape)
    one, two = (right + noise * times for times in (few, many))
    assert psnr(right, one, span=(0, 255)) >= psnr(right, two, span=(0, 255))
    assert max_difference(right, one, span=(0, 255)) <= max_difference(right, two, span=(0, 255))
    assert ssim(right, one, span=(0, 255)) >= ssim(right, two, span=(0, 255)) - 1e-9


def test_every_image_must_be_alike() -> None:
    found = check_images([PLAIN, BANDED], [PLAIN, PLAIN], ssim_min=0.9)
    assert not found.passed
    assert "number 2 is the least like the reference's" in found.feedback
    assert "They are all the same image." in found.feedback
    assert check_images([PLAIN], [BANDED], psnr_min=16).passed
    assert not check_images([PLAIN, PLAIN, PLAIN], [PLAIN, BANDED, PLAIN]).passed
    assert not check_images([PLAIN], [BANDED], psnr_min=None, difference_max=40).passed


def test_pixels_that_wrap_around_are_far_apart() -> None:
    assert psnr(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (PLAIN[:-1], r"image 1 has shape \(23, 31\): \(24, 31\) was asked for"),
        (PLAIN / 255, "image 1 is of float64: uint8 was asked for"),
        (PLAIN.astype(int) + 90, r"image 1 holds 2\d\d at .*: pixels are from 0 to 255"),
        ([], "image 1 is empty"),
        ([["a"]], "image 1 is no array of numbers"),
    ],
)
def test_images_that_are_none(answer: object, told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        check_images([PLAIN], [answer])  # type: ignore[list-item]


def test_what_check_images_cannot_work_with() -> None:
    floats = PLAIN / 255
    for reference, given_, told in (
        ([PLAIN], {"psnr_min": None}, "psnr_min, ssim_min or difference_max"),
        ([PLAIN], {"ssim_min": 1.5}, "ssim_min is 1.5"),
        ([floats], {}, "pixels are float64: give their span"),
        ([floats], {"span": (1, 0)}, "the lowest value comes first"),
        ([floats * 2], {"span": (0, 1)}, "the reference of image 1 holds"),
        ([PLAIN[:5]], {"ssim_min": 0.5}, "SSIM needs 11 x 11 pixels, not 5 x 31"),
        ([PLAIN[0]], {}, "height x width"),
        ([np.full((9, 9), 7, np.uint8)], {}, "images of one colour would pass"),
        ([PLAIN], {"psnr_min": 3}, "images of one colour would pass"),
        ([], {}, "nothing to check"),
    ):
        with pytest.raises(CheckerError, match=told):
            check_images(reference, reference, **given_)  # type: ignore[arg-type]
    with pytest.raises(BadAnswer, match="image 1 holds nan at"):
        check_images([floats], [floats * math.nan], span=(0, 1))


def rounded(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """To so many significant bits, half to even."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 2**bits), exponent - bits)


def int8(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To 8 bits, scaled by the largest of each row."""
    scale = np.abs(values).max(axis=1, keepdims=True) / 127
    return np.rint(values / scale) * scale


BITS = {"fp32": 24, "fp16": 11, "bf16": 8, "fp8_e4m3": 4, "fp8_e5m2": 3}


def product(seed: int, name: str, size: int = 96) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A product of matrices, exact and in the number type ``name``; in fp32 every sum is rounded."""
    rng = np.random.default_rng(seed)
    if name == "fp32":
        single = rng.normal(size=(2, 30, 800)).astype(np.float32)
        exact = single[0].astype(float) @ single[1].astype(float).T
        return exact, np.cumsum(single[0, :, None, :] * single[1], axis=2)[..., -1].astype(float)
    a, b = rng.normal(size=(2, size, size))
    if name == "int8":
        return a @ b, int8(a) @ int8(b.T).T
    return a @ b, rounded(rounded(a, BITS[name]) @ rounded(b, BITS[name]), BITS[name])


@pytest.mark.parametrize("name", [*BITS, "int8"])
@pytest.mark.parametrize("seed", range(5))
def test_a_number_type_keeps_its_own_tolerance(name: str, seed: int) -> None:
    found = check_tensor(*product(seed, name), name, cosine_min=0.9)
    assert found.passed, found.to_case()["detail"]
    assert found.statistics["relative L2"] > TOLERANCES[name].relative_l2 / 20  # which is not far too wide


@pytest.mark.parametrize(
    ("name", "finer"),
    [("bf16", "fp16"), ("fp16", "fp32"), ("fp8_e4m3", "bf16"), ("fp8_e5m2", "bf16"), ("int8", "bf16")],
)
def test_a_coarser_number_type_does_not_pass_for_a_finer_one(name: str, finer: str) -> None:
    found = check_tensor(*product(0, name), finer)
    assert not found.passed
    assert found.statistics["elements beyond the tolerance"] > 0


tensors = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30).map(np.array)


@settings(deadline=None, max_examples=80)
@given(tensors)
def test_the_same_tensor_passes(values: NDArray[np.float64]) -> None:
    found = check_tensor(values, values.copy(), "exact", cosine_min=0.999)
    assert found.passed
    assert found.statistics["cosine"] == pytest.approx(1)


@settings(deadline=None, max_examples=80)
@given(seeds, st.floats(0, 1), st.floats(0, 1), st.sampled_from(sorted(TOLERANCES)))
def test_further_off_is_never_better(seed: int, near: float, far: float, name: str) -> None:
    near, far = sorted((near, far))
    rng = np.random.default_rng(seed)
    right, noise = rng.normal(size=(2, 40))
    one, two = (check_tensor(right, right + by * noise, name) for by in (near, far))
    for statistic in ("elements beyond the tolerance", "relative L2", "largest difference"):
        assert one.statistics[statistic] <= two.statistics[statistic] * (1 + 1e-9) + 1e-15
    assert one.passed or not two.passed


def test_differences_are_symmetric_and_scale_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=50)
    b = a + 0.01 * rng.normal(size=50)
    one, two = check_tensor(a, b, "bf16"), check_tensor(b, a, "bf16")
    for name in ("largest difference", "cosine"):
        assert one.statistics[name] == pytest.approx(two.statistics[name])
    for scale in (1e-200, 1e200):
        scaled = check_tensor(a * scale, b * scale, "bf16")
        assert scaled.passed == one.passed
        assert scaled.statistics["relative L2"] == pytest.approx(one.statistics["relative L2"])


def test_tensors_by_hand() -> None:
    """(3, 4) and (3, 5): off by 1, of a norm of 5; cosine 29 / (5 x root of 34)."""
    found = check_tensor([3.0, 4.0], [3.0, 5.0], Tolerance(0.5, 0, 0.21))
    assert found.passed
    assert found.statistics["relative L2"] == pytest.approx(0.2)
    assert found.statistics["cosine"] == pytest.approx(29 / (5 * math.sqrt(34)))
    assert found.statistics["largest difference"] == 1
    assert not check_tensor([3.0, 4.0], [3.0, 5.0], Tolerance(0.24, 0, 0.21)).passed
    assert not check_tensor([3.0, 4.0], [3.0, 5.0], Tolerance(0.5, 0, 0.19)).passed
    floor = check_tensor([0.0, 5.0], [0.1, 5.0], Tolerance(0, 0.1 / (5 / math.sqrt(2)) * 1.0001, 0.5))
    assert floor.passed


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (np.ones((2, 3), np.float32), "its type is float32, not float64"),
        (np.ones((3, 2)), r"its shape is \(3, 2\), not \(2, 3\)"),
        (np.array([[1, 1, 1], [1, math.nan, 1]]), r"it holds NaN 1 times, first at \(1, 1\)"),
        (np.array([[1, 1, math.inf], [1, 1, 1]]), r"infinities differ at 1 places, first at \(0, 2\)"),
    ],
)
def test_what_makes_tensors_incomparable_is_named(answer: NDArray[np.float64], told: str) -> None:
    found = check_tensor(np.ones((2, 3)), answer, "fp64")
    assert not found.passed
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(found.feedback)


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = check_tensor(np.ones((2, 3)), np.full((3, 3), math.nan, np.float16), "fp64")
    assert found.statistics == {"mismatches of type, shape or finiteness": 3}


def test_types_and_infinities() -> None:
    masked = np.array([1.0, -math.inf, 2.0])
    assert check_tensor(masked, masked.astype(np.float32), "fp32", dtype="float32").passed
    assert check_tensor(masked, masked.astype(np.float16), "fp16", dtype="any").passed
    assert not check_tensor(masked, -masked, "fp64").passed
    large = np.array([2**62, 2**62 + 1], np.int64)
    assert check_tensor(large, large, "exact").passed
    assert not check_tensor(large, large[::-1], "exact").passed
    assert not check_tensor(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8), "int8").passed
    assert not check_tensor([1.0, 2.0], [1.0, 1e308 * 10], "bf16").passed
    assert not check_tensor([1e308, 1e308], [-1e308, 1e308], "bf16").passed


def test_zero_is_only_zero() -> None:
    zeros = np.zeros(5)
    assert check_tensor(zeros, zeros, "bf16").passed
    assert not check_tensor(zeros, zeros + 1e-30, "bf16").passed
    right = np.random.default_rng(0).normal(size=50)
    nothing = check_tensor(right, np.zeros(50), "fp8_e5m2")
    assert not nothing.passed
    assert "It is the same value everywhere." in nothing.feedback


def test_a_wrong_scale_is_told() -> None:
    right = np.random.default_rng(0).normal(size=50)
    found = check_tensor(right, right * 1.5, "bf16", cosine_min=0.999)
    assert not found.passed
    assert "The direction is right, the scale is not: 1.5 times the reference's." in found.feedback


def test_what_check_tensor_cannot_work_with() -> None:
    for reference, answer, tolerance, kind, told in (
        ([1.0], [1.0], "bf17", CheckerError, "Did you mean 'bf16'"),
        ([math.nan], [1.0], "bf16", CheckerError, "the reference holds NaN"),
        ([math.inf], [math.inf], "bf16", CheckerError, "nothing but infinities"),
        ([], [1.0], "bf16", CheckerError, "the reference is empty"),
        ([1.0], [], "bf16", BadAnswer, "the answer is empty"),
        ([1.0], ["1"], "bf16", BadAnswer, "no array of numbers"),
        ([1.0], None, "bf16", BadAnswer, "no array of numbers"),
    ):
        with pytest.raises(kind, match=told):
            check_tensor(reference, answer, tolerance)  # type: ignore[arg-type]
    for bad in ((-1, 0, 0), (0, math.nan, 0), (0, 0, 1.0)):
        with pytest.raises(CheckerError):
            Tolerance(*bad)
    assert TOLERANCES["bf16"].times(3).relative_l2 == pytest.approx(3 * TOLERANCES["bf16"].relative_l2)
