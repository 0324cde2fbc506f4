"""Helpers of the claims on domains at their edges: one patient in a hospital, a trait that does not vary."""

import numpy as np

from experiments.domains import _false_laws, _hospitals, _phonetic_law


def test_a_hospital_with_one_patient_meets_the_others():
    scores = np.arange(16.0).reshape(4, 4)
    scores = scores + scores.T
    ill = np.zeros((4, 4), bool)
    ill[0, 2] = ill[2, 0] = True
    pairs = _hospitals.pair_up(scores, np.array([0, 0, 0, 1]), ill)
    np.testing.assert_array_equal(pairs.scores, [scores[i, j] for i in range(4) for j in range(i + 1, 4)])
    np.testing.assert_array_equal(pairs.kind, [1, 0, 2, 1, 2, 2])
    np.testing.assert_array_equal(np.exp(pairs.log_weights).sum(axis=1), [9, 3])
    np.testing.assert_array_equal(pairs.by_hospital[1][:3], scores[3, :3])


def test_a_trait_without_variation_says_nothing():
    features = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    assert np.all(np.isfinite(_hospitals.similarity(features)))
    np.testing.assert_allclose(_hospitals.similarity(features).sum(axis=1), 0, atol=1e-12)


def test_shift_is_within_less_across():
    same = np.array([True, False, True, False])
    assert _hospitals.within_less_across(np.array([3.0, 1.0, 5.0, 0.0]), same) == 3.5


def test_clean_law_leaves_homophones_out_and_share_grows():
    table = np.array([[2.0, 10.0, 100.0], [0.0, 4.0, 40.0]])
    law = _phonetic_law.shares(table, 1.5)
    weights = table * np.exp(-1.5 * np.arange(3))
    np.testing.assert_allclose(law, weights / weights.sum(axis=1, keepdims=True), rtol=1e-12)
    assert law[1, 0] == 0
    np.testing.assert_allclose(_phonetic_law.clean(law)[1], law[1], rtol=1e-12)
    np.testing.assert_allclose(_phonetic_law.clean(law)[0, 1:], law[0, 1:] / (1 - law[0, 0]), rtol=1e-12)


def test_mean_inverse_of_two_draws():
    share = np.array([0.0, 0.25, 0.9])
    expected = 2 * share * (1 - share) + (1 - share) ** 2 / 2
    np.testing.assert_allclose(_false_laws.mean_inverse(share, 2), expected, rtol=1e-14)


def test_side_by_side_fills_up_with_what_is_never_drawn():
    short = _false_laws.uniform(np.array([0.0, 1.0]), np.array([True, False]))
    laws = _false_laws.side_by_side([short, _false_laws.uniform(np.zeros(3), np.zeros(3, bool))])
    np.testing.assert_array_equal(np.exp(laws.log_weights), [[[1, 1, 0]], [[1, 1, 1]]])
    np.testing.assert_array_equal(laws.false, [[True, False, False], [False] * 3])
    np.testing.assert_allclose(laws.push[0, :2], [0.5, 1 / (1 + np.exp(-1))], rtol=1e-6)


def test_swaps_of_equal_tags_gain_nothing():
    emission, transition = np.log([[0.5, 0.5], [0.2, 0.8]]), np.log([[0.9, 0.1], [0.4, 0.6]])
    words, tags = np.array([[0, 1, 1, -1]]), np.array([[0, 0, 1, -1]])
    gain, equal = _false_laws.swap_gains(emission, transition, words, tags)
    np.testing.assert_array_equal(equal[0, :2], [True, False])
    swapped = np.log([0.5 * 0.8 * 0.2 * 0.1 * 0.4]) - np.log([0.5 * 0.2 * 0.8 * 0.9 * 0.1])
    np.testing.assert_allclose(gain[0, :2], [0.0, swapped[0]], rtol=1e-6, atol=1e-6)
