"""Parametrizations: derivatives, bounds, round trips, exact zeros."""

import numpy as np
import pytest

from skbilevel.problems import (
    ByTarget,
    Embedded,
    FeatureStrengths,
    GroupStrengths,
    MetadataStrengths,
    SharedStrength,
    metadata_transform,
    strengths,
)

P = 7


def cases():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((P, 2))
    v0 = rng.uniform(0.1, 2.0, P)
    return {
        "feature": FeatureStrengths(P, 0.3),
        "feature, own scales": FeatureStrengths(P, v0),
        "group": GroupStrengths(np.array([0, 1, 2, 0, 1, 2, 2]), 0.3),
        "shared": SharedStrength(P),
        "metadata": MetadataStrengths(Z, -1.0, -8.0, 8.0),
        "deviations": MetadataStrengths(Z, -1.0, deviations=True),
        "embedded": Embedded(FeatureStrengths(4, 0.3), np.array([0, 2, 3, 6]), P),
    }


@pytest.mark.parametrize("name", cases())
def test_vjp(name):
    par, rng = cases()[name], np.random.default_rng(1)
    theta, g = rng.uniform(0.2, 2.0, par.size), rng.standard_normal(P)
    h = 1e-6
    slope = [
        g @ (par.v(theta + h * e) - par.v(theta - h * e)) / (2 * h)
        for e in np.eye(par.size)
    ]
    np.testing.assert_allclose(par.vjp(theta, g), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", cases())
def test_bounds_and_round_trip(name):
    par, rng = cases()[name], np.random.default_rng(1)
    low, high = par.bounds(1e-3, 1e4)
    assert low.shape == high.shape == (par.size,)
    assert (low <= high).all()
    theta = rng.uniform(0.2, 2.0, par.size)
    again = par.v(par.init(par.v(theta)))
    np.testing.assert_allclose(again, par.v(theta), rtol=1e-10)
    used = par.v(theta) > 0
    if name != "metadata":  # a constant is not in the span of its columns
        np.testing.assert_allclose(par.v(par.init(0.5))[used], 0.5)
    alpha = par.publish(theta)
    np.testing.assert_allclose(alpha[used] * par.v(theta)[used], 1.0)
    assert np.isinf(alpha[~used]).all()


def test_bounds_are_the_bounds_of_v():
    for par in (FeatureStrengths(P, 0.3), SharedStrength(P), cases()["group"]):
        low, high = par.bounds(1e-3, 1e4)
        np.testing.assert_allclose(par.v(low), 1e-3)
        np.testing.assert_allclose(par.v(high), 1e4)


def test_zero_is_exact_and_nothing_overflows():
    par = FeatureStrengths(3, 0.3)
    assert (par.v(np.array([0.0, 1.0, 1e6]))[:2] == [0.0, 0.3]).all()
    assert np.isfinite(par.v(np.full(3, 1e6))).all()
    assert par.bounds(0.0, 1.0)[0].tolist() == [0.0] * 3
    assert par.publish(np.zeros(3)).tolist() == [np.inf] * 3
    group = GroupStrengths(np.array([0, 0, 1]), 1.0)
    assert group.init(np.array([0.0, 1.0, 2.0]))[0] == 0.0
    assert group.publish_groups(np.array([0.0, 1.0])).tolist() == [np.inf, 1.0]
    assert strengths(np.array([0.0, 2.0])).tolist() == [np.inf, 0.5]


def test_coordinate_has_a_continuous_derivative():
    par = FeatureStrengths(1, 2.0)
    below, above = (par.vjp(np.array([z]), np.ones(1)) for z in (1 - 1e-9, 1 + 1e-9))
    np.testing.assert_allclose(below, above, rtol=1e-8)


def test_metadata_transform_makes_columns_orthonormal():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((50, 4)) * [1.0, 1e6, 1e-6, 1.0]
    Z[:, 3] = Z[:, 0] + 1e-6 * Z[:, 1]
    weight = rng.uniform(0, 1, 50)
    weight /= weight.sum()
    T = metadata_transform(Z, weight)
    assert T.shape == (4, 3)
    Q = Z @ T
    np.testing.assert_allclose(Q.T @ (weight[:, None] * Q), np.eye(3), atol=1e-8)
    # The same columns carry the same functions.
    fit = Q @ np.linalg.lstsq(Q, Z[:, 3], rcond=None)[0]
    np.testing.assert_allclose(fit, Z[:, 3], atol=1e-8)


def test_clipped_features_have_no_gradient():
    Z = np.array([[1.0], [10.0]])
    par = MetadataStrengths(Z, 0.0, -2.0, 2.0)
    theta = np.array([1.0])
    assert par.v(theta).tolist() == [np.exp(1.0), np.exp(2.0)]
    np.testing.assert_allclose(par.vjp(theta, np.array([0.0, 5.0])), 0.0)


def test_strengths_of_every_target():
    flat = FeatureStrengths(3 * P, np.random.default_rng(0).uniform(0.1, 2.0, 3 * P))
    par, rng = ByTarget(flat, 3), np.random.default_rng(1)
    theta = rng.uniform(0.2, 2.0, par.size)
    v = par.v(theta)
    assert v.shape == (P, 3)
    np.testing.assert_array_equal(v.reshape(-1), flat.v(theta))
    J, g = par.jacobian(theta), rng.standard_normal((P, 3))
    assert J.shape == (P, 3, 3 * P)
    np.testing.assert_allclose(np.tensordot(g, J, 2), par.vjp(theta, g))
    h, e = 1e-6, np.eye(par.size)[4]
    slope = (par.v(theta + h * e) - par.v(theta - h * e)) / (2 * h)
    np.testing.assert_allclose(J[..., 4], slope, atol=1e-8)
    for given in (v, v.reshape(-1)):
        np.testing.assert_allclose(par.init(given), theta)
    np.testing.assert_allclose(par.v(par.init(0.5)), 0.5)
    np.testing.assert_allclose(par.publish(theta) * v, 1.0)
