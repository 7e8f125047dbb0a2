"""Coupled dictionaries: equations 5 to 12 against plain implementations."""

import cv2
import numpy as np
import pytest
from scipy import sparse

from correlight.predict.dictionaries import JointDictionary, learned, sampled
from correlight.predict.patches import PatchGrid, tiled
from correlight.predict.sparse_coding import Codes, Coding, reconstruct

SIDE, STEP, ATOMS, SPARSITY, WEIGHT = 4, 2, 20, 0.3, 1.5


def small_problem(seed: int = 0, halves: int = 2):
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(ATOMS, halves * SIDE * SIDE))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    mask = np.ones((12, 10), bool)
    mask[3:5, 4:7] = False
    return rng.normal(size=mask.shape), mask, atoms


def selections(shape: tuple[int, int]) -> sparse.csr_matrix:
    """All R_i below each other, one entry of 1 a row."""
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    chosen = [
        numbers[y : y + SIDE, x : x + SIDE].ravel()
        for y in range(0, shape[0] - SIDE + 1, STEP)
        for x in range(0, shape[1] - SIDE + 1, STEP)
    ]
    columns = np.concatenate(chosen)
    return sparse.csr_matrix((np.ones(len(columns)), (np.arange(len(columns)), columns)), (len(columns), numbers.size))


def simultaneous_directions(image, mask, atoms, halves: int, rounds: int = 1500):
    """Algorithm 3 as printed: every term of equation 9 has copies of its own; returns the images."""
    chooses = selections(image.shape)
    patches, pixels, total = chooses.shape[0] // SIDE**2, SIDE * SIDE, image.size
    weight = WEIGHT * np.asarray(chooses.sum(axis=0)).ravel() * mask.ravel()
    parts = [atoms[:, number * pixels : (number + 1) * pixels].T for number in range(halves)]

    def block(position: int, matrix):
        widths = [total] * halves + [patches * ATOMS]
        row = [sparse.csr_matrix((matrix.shape[0], width)) for width in widths]
        row[position] = matrix
        return sparse.hstack(row).tocsr()

    maps = [block(0, sparse.eye_array(total))]
    maps += [block(number, chooses) for number in range(halves)]
    maps += [block(halves, sparse.kron(sparse.eye_array(patches), part)) for part in parts]
    maps += [block(halves, sparse.eye_array(patches * ATOMS))]
    inverse = np.linalg.inv(sum(one.T @ one for one in maps).toarray())
    copies, duals = ([np.zeros(one.shape[0]) for one in maps] for _ in range(2))
    for _ in range(rounds):
        mean = inverse @ sum(one.T @ (y - z) for one, y, z in zip(maps, copies, duals, strict=True))
        wanted = [one @ mean + z for one, z in zip(maps, duals, strict=True)]
        copies = [(weight * image.ravel() + wanted[0]) / (weight + 1)]
        pairs = [(wanted[1 + number], wanted[1 + halves + number]) for number in range(halves)]
        copies += [(2 * v + w) / 3 for v, w in pairs] + [(v + 2 * w) / 3 for v, w in pairs]
        copies += [np.sign(wanted[-1]) * np.maximum(np.abs(wanted[-1]) - SPARSITY, 0)]
        duals = [t - y for t, y in zip(wanted, copies, strict=True)]
    return [mean[number * total : (number + 1) * total].reshape(image.shape) for number in range(halves)]


@pytest.mark.parametrize("halves", [1, 2])
def test_images_are_those_of_the_method_of_the_paper(halves: int) -> None:
    image, mask, atoms = small_problem(halves=halves)
    expected = simultaneous_directions(image, mask, atoms, halves)
    coding = Coding(SIDE, STEP, SPARSITY, WEIGHT, iterations=300)
    made = reconstruct(image.astype(np.float32), mask, atoms.astype(np.float32), coding)
    assert len(made.images) == halves
    for own, theirs in zip(made.images, expected, strict=True):
        np.testing.assert_allclose(own, theirs, atol=2e-4)


def test_fifty_steps_come_within_a_thousandth_of_the_least_energy() -> None:
    image, mask, atoms = small_problem(1)
    chooses = selections(image.shape)
    weight = WEIGHT * np.asarray(chooses.sum(axis=0)).ravel() * mask.ravel()

    def energy(steps: int) -> float:
        codes = Codes(atoms.astype(np.float32), chooses.shape[0] // SIDE**2, SPARSITY)
        coding = Coding(SIDE, STEP, SPARSITY, WEIGHT, steps)
        one, two = reconstruct(image.astype(np.float32), mask, atoms.astype(np.float32), coding, codes).images
        patches = np.hstack([(chooses @ part.ravel()).reshape(-1, SIDE**2) for part in (one, two)])
        apart = np.sum((patches - codes.values @ atoms) ** 2)
        data = np.sum(weight * (one - image).ravel() ** 2)
        return float((data + apart) / 2 + SPARSITY * np.abs(codes.values).sum())

    assert energy(50) < 1.001 * energy(500)


def test_patches_and_their_sum_are_transposed_to_each_other() -> None:
    grid = PatchGrid((13, 11), 6, 3)
    rng = np.random.default_rng(2)
    image = grid.extended(rng.normal(size=(13, 11)).astype(np.float32))
    rows = rng.normal(size=grid.rows(image).shape).astype(np.float32)
    assert np.sum(grid.rows(image) * rows) == pytest.approx(np.sum(image * grid.summed(rows)), rel=1e-4)
    np.testing.assert_allclose(grid.summed(grid.rows(image)), grid.cover * image, rtol=1e-5)
    assert grid.cut(image).shape == (13, 11)
    assert grid.cover.min() >= 1


def test_learning_lowers_equation_8_as_far_as_the_update_of_equation_10_does() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=(12, 18))
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    chosen = rng.random((400, 12)) < 0.15
    patches = ((chosen * rng.normal(0, 3, chosen.shape)) @ true).astype(np.float32)
    patches += rng.normal(0, 0.05, patches.shape).astype(np.float32)

    def energy(dictionary: np.ndarray, codes: np.ndarray) -> float:
        return float(np.sum((patches - codes @ dictionary) ** 2) / 2 + 0.3 * np.abs(codes).sum())

    def coded(dictionary: np.ndarray) -> np.ndarray:
        codes = Codes(dictionary.astype(np.float32), len(patches), 0.3)
        for _ in range(200):
            codes.step(patches)
        return codes.values.astype(np.float64)

    plain = patches[:12] / np.linalg.norm(patches[:12], axis=1, keepdims=True)
    for _ in range(25):
        codes = coded(plain)
        plain = np.linalg.pinv(codes.T @ codes) @ codes.T @ patches
        plain /= np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-9)
    made = learned(patches, 12, 0.3)
    assert np.linalg.norm(made, axis=1).max() <= 1 + 1e-5
    # The problem is not convex, so that either may end in another minimum; the true atoms say what is good.
    assert energy(made, coded(made)) < 1.05 * min(energy(plain, coded(plain)), energy(true, coded(true)))


@pytest.fixture(scope="module")
def trained() -> tuple[JointDictionary, list]:
    """A dictionary of dark blobs and how they shine in a blurred light image, and pairs of the kind."""
    pairs = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        image = cv2.GaussianBlur(rng.normal(size=(72, 80)), (0, 0), 2.5)
        image = np.tanh(3 * image / image.std())
        other = cv2.GaussianBlur(np.exp(-2 * image), (0, 0), 1.0)
        one, two = ((part - part.mean()) / part.std() for part in (image, other))
        pairs.append((one.astype(np.float32), two.astype(np.float32), np.ones(image.shape, bool)))
    patches = sampled(pairs[:2], 6, 1500, np.random.default_rng(0))
    coding = Coding(side=6, step=2, sparsity=0.3)
    return JointDictionary(learned(patches, 120, 0.3), coding, np.ones(4)).with_variances(pairs[1:2]), pairs


def test_blobs_are_predicted_best_where_it_says_so(trained) -> None:
    dictionary, pairs = trained
    image, other, mask = pairs[2]
    made = dictionary.predict(image, mask)
    assert np.corrcoef(made.predicted.ravel(), other.ravel())[0, 1] > 0.9
    assert np.corrcoef(made.denoised.ravel(), image.ravel())[0, 1] > 0.98
    assert made.confidence.min() > 0
    assert made.confidence.max() <= 1
    error = (made.predicted - other) ** 2
    sure = made.confidence > np.median(made.confidence)
    assert error[sure].mean() < error[~sure].mean()


def test_noise_is_taken_from_the_image_that_is_compared_with(trained) -> None:
    dictionary, pairs = trained
    other, mask = pairs[2][1:]
    noisy = (other + np.random.default_rng(5).normal(0, 0.4, other.shape)).astype(np.float32)
    assert np.mean((dictionary.denoise_other(noisy, mask) - other) ** 2) < 0.75 * np.mean((noisy - other) ** 2)


def test_invalid_pixels_do_not_matter(trained) -> None:
    dictionary, pairs = trained
    image, _, mask = pairs[2]
    mask = mask.copy()
    mask[20:30, 20:40] = False
    spoilt = np.where(mask, image, 50).astype(np.float32)
    first, second = dictionary.predict(spoilt, mask), dictionary.predict(np.where(mask, image, 0), mask)
    assert np.all(first.confidence[~mask] == 0)
    np.testing.assert_allclose(first.predicted[mask], second.predicted[mask], atol=1e-4)


def test_parts_of_a_large_image_fit_together() -> None:
    def blurred(values, mask):
        return (cv2.GaussianBlur(values, (0, 0), 2.0), mask.astype(np.float32))

    image = np.random.default_rng(6).normal(size=(1100, 530)).astype(np.float32)
    whole = cv2.GaussianBlur(image, (0, 0), 2.0)
    parts, valid = tiled(blurred, image, np.ones(image.shape, bool), 8)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert valid.all()
    assert tiled(blurred, image[:3, :40], np.ones((3, 40), bool), 8)[0].shape == (3, 40)


def test_samples_are_patches_that_are_valid_throughout() -> None:
    image = np.arange(400, dtype=np.float32).reshape(20, 20)
    mask = np.ones(image.shape, bool)
    mask[10, 10] = False
    drawn = sampled([(image, -image, mask)], 5, 1000, np.random.default_rng(7))
    assert len(drawn) == 16 * 16 - 25
    np.testing.assert_array_equal(drawn[:, :25], -drawn[:, 25:])
    assert not np.any(drawn[:, :25] == image[10, 10])
    assert len(sampled([(image, image, mask)], 21, 10, np.random.default_rng(7))) == 0
