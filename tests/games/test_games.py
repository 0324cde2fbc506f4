"""nsx.games against closed forms of the bilinear and Dirac games, difference quotients, and its own dense route."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import entropy, games
from tests.helpers import EPS, FLOAT, PRECISION
from tests.oracles import games as oracle

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
POINT = np.array([0.4, -0.3, 0.2, 0.5, -0.6])
RULES = {
    "simultaneous": games.simultaneous,
    "alternating": games.alternating,
    "extragradient": games.extragradient,
    "optimistic": games.optimistic,
    "consensus": games.consensus,
    "symplectic": games.symplectic,
    "implicit": games.implicit,
}
ROOT_RULES = {"consensus", "symplectic"}


def smooth_field(z):
    """The field of `SMOOTH` in NumPy: general sum, nonlinear, players of two and three numbers."""
    x, y = z[:2], z[2:]
    return np.concatenate([-A @ y - x**3, B.T @ x + np.sin(y)])


SMOOTH = games.vector_field(
    (
        lambda p: p[0]["x"] @ jnp.asarray(A, FLOAT) @ p[1] + jnp.sum(p[0]["x"] ** 4) / 4,
        lambda p: -p[0]["x"] @ jnp.asarray(B, FLOAT) @ p[1] + jnp.sum(jnp.cos(p[1])),
    )
)


def smooth_players(z=POINT):
    z = jnp.asarray(z, FLOAT)
    return {"x": z[:2]}, z[2:]


def as_vector(players):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(players)]).astype(float)


def bilinear(a=1.0, r1=0.0, r2=0.0):
    """Min over x, max over y of a x y, each with its own norm penalty."""
    return games.vector_field(
        (
            lambda p: a * p[0] * p[1] + games.norm_penalty(p[0], strength=r1),
            lambda p: -a * p[0] * p[1] + games.norm_penalty(p[1], strength=r2),
        )
    )


ORIGIN = (jnp.zeros((), FLOAT), jnp.zeros((), FLOAT))


def options(rule, strength):
    return {"strength": strength} if rule in ROOT_RULES else {}


def paired(found, expected):
    """Largest distance of two sets of complex numbers matched by sorting on a generic projection."""
    order = lambda x: np.asarray(x)[np.argsort(np.real(x) + 0.37 * np.imag(x))]
    return np.max(np.abs(order(found) - order(expected)))


class TestField:
    def test_is_minus_each_players_own_gradient(self):
        field = SMOOTH(smooth_players())
        assert set(field[0]) == {"x"}
        np.testing.assert_allclose(as_vector(field), smooth_field(POINT), rtol=50 * EPS, atol=50 * EPS)

    def test_three_players_feel_their_own_loss_only(self):
        field = games.vector_field((lambda p: p[0] * p[1], lambda p: p[1] * p[2], lambda p: p[2] ** 2 * p[0]))
        values = field(tuple(jnp.asarray(x, FLOAT) for x in (2.0, 3.0, 5.0)))
        assert [float(v) for v in values] == [-3.0, -5.0, -20.0]

    def test_jit_and_vmap_change_nothing(self):
        batch = jnp.asarray(RNG.normal(size=(4, 5)), FLOAT)
        many = jax.jit(jax.vmap(lambda z: SMOOTH(({"x": z[:2]}, z[2:]))))(batch)
        for i in range(4):
            one = as_vector(SMOOTH(smooth_players(batch[i])))
            np.testing.assert_allclose(as_vector(jax.tree.map(lambda x: x[i], many)), one, rtol=50 * EPS, atol=20 * EPS)  # noqa: B023

    def test_bad_games(self):
        with pytest.raises(ValueError, match="one function per player, got none"):
            games.vector_field(())
        with pytest.raises(TypeError, match="loss 1 must be a function"):
            games.vector_field((jnp.sum, 3.0))
        field = games.vector_field((lambda p: jnp.sum(p[0]), lambda p: p[1]))
        with pytest.raises(ValueError, match=r"loss 1 must return a scalar, got shape \(2,\)"):
            field((jnp.zeros(2), jnp.zeros(2)))
        with pytest.raises(ValueError, match="has 2 players, got 3"):
            field((jnp.zeros(2),) * 3)
        with pytest.raises(TypeError, match="players must be a tuple"):
            field([jnp.zeros(2), jnp.zeros(2)])
        with pytest.raises(TypeError, match="real floating arrays, got dtype int32"):
            field((jnp.zeros(2), jnp.zeros(2, jnp.int32)))
        with pytest.raises(ValueError, match="hold no parameters"):
            field((jnp.zeros(0), {}))

    def test_nan_is_named_when_concrete_and_comes_back_when_traced(self):
        field = games.vector_field((lambda p: jnp.log(p[0]), lambda p: p[1] ** 2))
        players = (jnp.asarray(-1.0, FLOAT), jnp.asarray(0.0, FLOAT))
        with pytest.raises(ValueError, match="loss 0 is NaN"):
            field(players)
        broken = games.vector_field((lambda p: p[0] * jnp.nan, lambda p: p[1] ** 2))
        assert np.isnan(jax.jit(broken)(players)[0])
        with pytest.raises(ValueError, match="Jacobian holds NaN"):
            games.linearize(lambda p: (p[0] * jnp.sqrt(p[1] - 1), p[1]), players)


class TestUpdates:
    @pytest.mark.parametrize("rule", RULES)
    def test_three_steps_by_hand(self, rule):
        update = RULES[rule](SMOOTH, step_size=0.2, **options(rule, 0.7))
        state, z, previous = update.init(smooth_players()), POINT, smooth_field(POINT)
        step = jax.jit(update.step)
        for _ in range(3):
            now = smooth_field(z)
            z = oracle.step(rule, smooth_field, z, 0.2, strength=0.7, previous=previous, split=2)
            previous, state = now, step(state)
        assert jax.tree.structure(state.players) == jax.tree.structure(smooth_players())
        difference_quotient = 1e-8 if rule in ROOT_RULES | {"implicit"} else 0
        np.testing.assert_allclose(as_vector(state.players), z, rtol=200 * EPS + difference_quotient, atol=20 * EPS)

    @pytest.mark.parametrize("rule", RULES)
    def test_jit_equals_eager_and_vmap_equals_a_loop(self, rule):
        update = RULES[rule](SMOOTH, step_size=0.2, **options(rule, 0.7))
        run = lambda z: update.step(update.step(update.init(({"x": z[:2]}, z[2:])))).players
        batch = jnp.asarray(RNG.normal(size=(3, 5)) / 2, FLOAT)
        many = jax.jit(jax.vmap(run))(batch)
        np.testing.assert_allclose(
            as_vector(jax.tree.map(lambda x: x[1], many)), as_vector(run(batch[1])), rtol=200 * EPS, atol=50 * EPS
        )

    def test_each_player_at_its_own_step(self):
        for rule in ("simultaneous", "alternating", "extragradient", "optimistic"):
            update = RULES[rule](SMOOTH, step_size=(0.1, 0.3))
            after = as_vector(update.step(update.init(smooth_players())).players)
            h = np.array([0.1, 0.1, 0.3, 0.3, 0.3])
            expected = oracle.step(rule, smooth_field, POINT, h, previous=smooth_field(POINT), split=2)
            np.testing.assert_allclose(after, expected, rtol=200 * EPS, atol=20 * EPS)
        with pytest.raises(ValueError, match="one for each of 2 players, got 3"):
            games.simultaneous(SMOOTH, step_size=(0.1,) * 3).step(games.PlayersState(smooth_players()))

    def test_precision_of_the_players_is_kept_and_half_is_raised(self):
        for dtype, held in ((jnp.bfloat16, jnp.float32), (jnp.float16, jnp.float32), (FLOAT, FLOAT)):
            for rule, make in RULES.items():
                update = make(bilinear(), step_size=np.float64(0.1), **options(rule, 1.0))
                state = update.init((jnp.ones((), dtype), jnp.ones((), dtype)))
                assert state.players[0].dtype == held
                if dtype == jnp.bfloat16:  # a scan needs the same types out as in
                    after = jax.eval_shape(update.step, state)
                    assert [x.dtype for x in jax.tree.leaves(after)] == [x.dtype for x in jax.tree.leaves(state)]

    def test_symplectic_leaves_a_potential_game_alone_and_consensus_does_not(self):
        field = games.vector_field((lambda p: (p[0] * p[1]) ** 2 + p[0],) * 2)
        players = (jnp.asarray(0.5, FLOAT), jnp.asarray(2.0, FLOAT))
        move = lambda u: as_vector(u.step(u.init(players)).players)
        plain = move(games.simultaneous(field, step_size=0.1))
        np.testing.assert_allclose(move(games.symplectic(field, step_size=0.1, strength=3.0)), plain, rtol=20 * EPS)
        assert np.abs(move(games.consensus(field, step_size=0.1, strength=3.0)) - plain).max() > 0.1

    def test_gradients_flow_through_a_run_and_the_step_size(self):
        def after(h):
            update = games.optimistic(SMOOTH, step_size=h)
            final, _ = jax.lax.scan(lambda s, _: (update.step(s), None), update.init(smooth_players()), length=5)
            return jnp.sum(jnp.cos(final.players[1]))

        if PRECISION == 64:
            slope = (after(0.2 + 1e-6) - after(0.2 - 1e-6)) / 2e-6
            np.testing.assert_allclose(jax.grad(after)(0.2), slope, rtol=1e-7)
        assert np.isfinite(jax.grad(after)(0.2))

    @pytest.mark.parametrize("rule", RULES)
    def test_bad_step_sizes(self, rule):
        for bad in (0.0, -1.0, np.inf, (0.1, 0.0)):
            with pytest.raises(ValueError, match="step_size must be positive and finite"):
                RULES[rule](SMOOTH, step_size=bad, **options(rule, 1.0))
        with pytest.raises(ValueError, match="step_size must be a scalar"):
            RULES[rule](SMOOTH, step_size=np.ones(2), **options(rule, 1.0))

    def test_bad_strengths_and_players(self):
        for rule in ROOT_RULES:
            with pytest.raises(ValueError, match="strength must be in"):
                RULES[rule](SMOOTH, step_size=0.1, strength=-1.0)
        with pytest.raises(TypeError, match="players must be a tuple"):
            games.simultaneous(SMOOTH, step_size=0.1).init([jnp.zeros(2)])
        with pytest.raises(ValueError, match="iterations must be at least 1"):
            games.implicit(SMOOTH, step_size=0.1, iterations=0)


class TestLinearize:
    def test_jacobian_by_differences(self):
        found = games.linearize(SMOOTH, smooth_players())
        expected = oracle.jacobian(smooth_field, POINT)
        np.testing.assert_allclose(found.jacobian, expected, atol=1e-9 + 50 * EPS)
        assert paired(found.eigenvalues, np.linalg.eigvals(expected)) < 1e-8 + 200 * EPS
        assert float(found.abscissa) == pytest.approx(np.linalg.eigvals(expected).real.max(), abs=1e-8 + 200 * EPS)
        assert np.all(np.diff(np.asarray(found.eigenvalues.real)) <= EPS)

    def test_damped_rotation_in_closed_form(self):
        for r1, r2, a in RNG.uniform(0, 2, (12, 3)):
            found = games.linearize(bilinear(a, r1, r2), ORIGIN)
            np.testing.assert_allclose(found.eigenvalues, oracle.damped(r1, r2, a), atol=100 * EPS)

    def test_dirac_gan_with_r1(self):
        f = lambda t: -jax.nn.softplus(-t)
        for gamma in (0.3, 1.0, 2.0):
            penalty = lambda p: games.gradient_penalty(lambda x: x[0] * p[1], jnp.zeros((1, 1), FLOAT), strength=gamma)  # noqa: B023
            field = games.vector_field((lambda p: f(p[0] * p[1]), lambda p: -f(p[0] * p[1]) + penalty(p)))  # noqa: B023
            found = games.linearize(field, ORIGIN)
            defect = np.sqrt(EPS) if gamma == 1 else 0  # the double eigenvalue
            np.testing.assert_allclose(found.eigenvalues, oracle.dirac_r1(gamma), atol=8 * defect + 20 * EPS)

    def test_abscissa_has_a_derivative(self):
        slope = jax.grad(lambda r: games.linearize(bilinear(1.5, r, 0.2), ORIGIN).abscissa)(0.7)
        np.testing.assert_allclose(slope, -0.5, rtol=100 * EPS)
        matrix, along = jnp.asarray([[1.0, 0.4], [0.3, 2.0]], FLOAT), jnp.asarray([[0.2, -0.1], [0.5, 0.7]], FLOAT)
        forward = jax.jvp(lambda j: games.stability(j).eigenvalues, (matrix,), (along,))[1]
        at = lambda t: np.sort(np.linalg.eigvals(np.asarray(matrix, float) + t * np.asarray(along)).real)[::-1]
        np.testing.assert_allclose(forward.real, (at(1e-4) - at(-1e-4)) / 2e-4, rtol=1e-7 + 1e4 * EPS)

    def test_stability_of_a_batch_and_of_nan(self):
        matrices = RNG.normal(size=(5, 4, 4)).astype(FLOAT)
        found = jax.jit(games.stability)(matrices)
        for i in range(5):
            assert paired(found.eigenvalues[i], np.linalg.eigvals(matrices[i].astype(float))) < 200 * EPS * 10
        assert np.all(np.isnan(jax.jit(games.stability)(matrices * np.nan).abscissa))
        np.testing.assert_array_equal(found.abscissa, found.eigenvalues[:, 0].real)

    def test_the_hosts_solver_gives_the_same(self):
        from nsx.games._eig import _pairs_on_the_host, _values_on_the_host, eig

        matrices = jnp.asarray(RNG.normal(size=(3, 4, 4)), FLOAT)
        values, vectors = jax.jit(jax.vmap(_pairs_on_the_host))(matrices)
        alone = np.asarray(jax.jit(jax.vmap(_values_on_the_host))(matrices))
        np.testing.assert_allclose(np.sort_complex(alone), np.sort_complex(np.asarray(values)), rtol=1e-4)
        assert values.dtype == eig(matrices)[0].dtype
        for i in range(3):
            assert paired(values[i], eig(matrices)[0][i]) < 1e3 * EPS
            v = np.asarray(vectors[i])
            assert np.abs(np.asarray(matrices[i]) @ v - v * np.asarray(values[i])).max() < 1e3 * EPS

    def test_no_square_jacobian(self):
        with pytest.raises(ValueError, match=r"must be square, of shape .* got \(2, 3\)"):
            games.stability(jnp.zeros((2, 3)))
        with pytest.raises(ValueError, match="Jacobian would not be square"):
            games.linearize(lambda p: (p[0][:1], p[1]), (jnp.zeros(2), jnp.zeros(3)))
        with pytest.raises(ValueError, match="Jacobian would not be square"):
            games.update_spectrum(games.Update(lambda p: p, lambda p: p[0]), (jnp.zeros(2), jnp.zeros(3)))
        with pytest.raises(ValueError, match="has 2 players, got 1"):
            games.linearize(SMOOTH, (jnp.zeros(2),))

    def test_equilibrium_is_a_zero_found_from_afar(self):
        found = games.equilibrium(SMOOTH, smooth_players(POINT / 4))
        assert float(found.residual) < 20 * EPS
        np.testing.assert_allclose(as_vector(found.players), 0, atol=1e-5)
        shifted = games.vector_field((lambda p: jnp.exp(p[0]) - 2 * p[0] + p[1], lambda p: (p[1] - p[0]) ** 2))
        found = jax.jit(lambda p: games.equilibrium(shifted, p))((jnp.ones((), FLOAT), jnp.ones((), FLOAT)))
        np.testing.assert_allclose(as_vector(found.players), np.log(2), rtol=20 * EPS)

    @pytest.mark.parametrize("slopes", [(1e4, 0.1), (1e-6, 1e6), (1.0, 1e-8)])
    def test_equilibrium_in_any_units(self, slopes):
        """Slopes or parameters of very different sizes: the small ones are no directions without a slope."""
        slopes = jnp.asarray(slopes, FLOAT)
        rest = jnp.asarray([1.0, 2.0], FLOAT)
        steep = games.vector_field((lambda p: jnp.sum(slopes * (p[0] - rest) ** 2) / 2,))
        found = games.equilibrium(steep, (jnp.zeros(2, FLOAT),))
        np.testing.assert_allclose(found.players[0], rest, rtol=100 * EPS)
        coupled = lambda p: (slopes * jnp.stack([p[0][0] + p[0][1] - 3, p[0][0] - p[0][1] + 1]),)
        found = games.equilibrium(coupled, (jnp.zeros(2, FLOAT),))
        np.testing.assert_allclose(found.players[0], rest, rtol=100 * EPS)

    def test_equilibrium_shortens_steps_that_overshoot(self):
        """Plain Newton on arctan runs away from 2, twice as far each time."""
        field = games.vector_field((lambda p: p[0] * jnp.arctan(p[0]) - jnp.log1p(p[0] ** 2) / 2,))
        found = games.equilibrium(field, (jnp.asarray(2.0, FLOAT),))
        assert abs(float(found.players[0])) < 10 * EPS
        assert float(found.residual) < 10 * EPS

    def test_equilibrium_keeps_what_nothing_determines(self):
        field = games.vector_field((lambda p: (p[0] @ jnp.ones(2, FLOAT) - 2.0) ** 2,))
        found = games.equilibrium(field, (jnp.asarray([3.0, 1.0], FLOAT),))
        np.testing.assert_allclose(found.players[0], [2.0, 0.0], atol=20 * EPS)


class TestClassify:
    @pytest.mark.parametrize(
        ("spectrum", "kind"),
        [
            ([-1.0, -2.0], "stable node"),
            ([1.0, 2.0], "unstable node"),
            ([-1 + 1j, -1 - 1j], "stable focus"),
            ([0.1 + 1j, 0.1 - 1j], "unstable focus"),
            ([1.0, -1.0], "saddle"),
            ([1 + 1j, 1 - 1j, -3.0], "saddle"),
            ([1j, -1j], "centre"),
            ([0.0, 0.0], "degenerate"),
            ([0.0, -1.0], "degenerate"),
            ([1j, -1j, -1.0], "degenerate"),
        ],
    )
    def test_words(self, spectrum, kind):
        assert games.classify(np.asarray(spectrum)) == kind
        assert games.classify(1e-9 * np.asarray(spectrum)) == kind, "the threshold is relative"

    def test_threshold_as_stated(self):
        dtype = np.complex128 if PRECISION == 64 else np.complex64
        limit = 8 * np.sqrt(EPS)
        at = lambda real: games.classify(np.array([real + 1j, real - 1j], dtype))
        assert at(-2 * limit) == "stable focus"
        assert at(2 * limit) == "unstable focus"
        assert at(0.5 * limit) == at(-0.5 * limit) == "centre"
        assert games.classify(np.array([0.1 + 1j, 0.1 - 1j]), tolerance=0.2) == "centre"

    def test_critical_damping_is_a_node(self):
        assert games.classify(games.linearize(bilinear(0.5, 0.0, 1.0), ORIGIN).eigenvalues) == "stable node"
        assert games.classify(games.linearize(bilinear(0.5, 0.0, 0.3), ORIGIN).eigenvalues) == "stable focus"
        assert games.classify(games.linearize(bilinear(), ORIGIN).eigenvalues) == "centre"

    def test_what_it_refuses(self):
        with pytest.raises(TypeError, match="needs concrete eigenvalues"):
            jax.jit(lambda x: jnp.zeros(len(games.classify(x))))(jnp.zeros(2))
        for bad in (np.zeros((2, 2)), np.array([np.nan]), np.zeros(0)):
            with pytest.raises(ValueError, match="vector of finite eigenvalues"):
                games.classify(bad)


class TestMaps:
    @pytest.mark.parametrize("rule", RULES)
    def test_multipliers_of_the_bilinear_game(self, rule):
        spectrum = jax.jit(
            lambda a, h, s: games.update_spectrum(RULES[rule](bilinear(a), step_size=h, **options(rule, s)), ORIGIN)
        )
        for a, h, s in [(1.0, 0.1, 0.5), (0.5, 0.8, 2.0), (2.0, 0.3, 1.0), (1.0, 0.5, 1.0)]:
            expected = oracle.multipliers(rule, a, h, s)
            found = spectrum(*(jnp.asarray(x, FLOAT) for x in (a, h, s)))
            defect = np.sqrt(EPS) if rule == "optimistic" and a * h == 0.5 else 0  # double roots
            assert paired(found, expected) < 8 * defect + 20 * EPS
            assert float(np.abs(found[0])) == pytest.approx(np.abs(expected).max(), abs=8 * defect + 20 * EPS)

    def test_published_rates(self):
        radius = lambda rule, h: float(games.spectral_radius(RULES[rule](bilinear(), step_size=h), ORIGIN))
        assert radius("optimistic", 0.1) == pytest.approx(0.994936, abs=1e-6)
        assert radius("optimistic", 0.5) == pytest.approx(np.sqrt(0.5), abs=10 * np.sqrt(EPS))
        assert radius("extragradient", np.sqrt(0.5)) == pytest.approx(0.8660254, abs=1e-6)
        assert radius("alternating", 2.1) == pytest.approx(1.877, abs=1e-3)

    def test_of_the_nonlinear_game_by_differences(self):
        for rule in ("alternating", "extragradient"):
            update = RULES[rule](SMOOTH, step_size=0.3)
            by_hand = oracle.jacobian(lambda z, r=rule: oracle.step(r, smooth_field, z, 0.3, split=2), POINT)
            assert (
                paired(games.update_spectrum(update, smooth_players()), np.linalg.eigvals(by_hand)) < 1e-8 + 1e3 * EPS
            )

    def test_the_radius_is_the_growth_of_a_run(self):
        """A linear game grows by the radius, up to the condition of the eigenvectors (< 3 here) over the time."""
        for rule in RULES:
            update = RULES[rule](bilinear(1.0, 0.05, 0.2), step_size=0.3, **options(rule, 0.1))
            run = jax.jit(lambda s, u=update: jax.lax.fori_loop(0, 400, lambda _, x: u.step(x), s))
            start = update.init((jnp.ones((), FLOAT), jnp.zeros((), FLOAT)))
            middle = run(start)
            size = lambda s: np.linalg.norm(as_vector(s.players))
            rate = np.log(size(run(middle)) / size(middle)) / 400
            predicted = np.log(float(games.spectral_radius(update, ORIGIN)))
            assert abs(rate - predicted) < np.log(3) / 400, rule
            assert abs(predicted) > 2 * np.log(3) / 400, "a margin that could not fail"

    @pytest.mark.parametrize("rule", ["alternating", "extragradient", "optimistic", "consensus", "symplectic"])
    def test_largest_stable_step_of_the_bilinear_game(self, rule):
        find = jax.jit(
            lambda a: games.largest_stable_step(
                lambda h: RULES[rule](bilinear(a), step_size=h, **options(rule, 0.6)), ORIGIN, low=0.01, high=5.0
            )
        )
        for a in (1.0, 1.7):
            expected = oracle.stable_below(rule, a, 0.6)
            # the tolerance of 64 m eps over the slope of the radius; the alternating radius leaves 1 as a square root
            margin = 1e4 * EPS if rule != "alternating" else 64 * 2 * EPS * 10
            assert float(find(jnp.asarray(a, FLOAT))) == pytest.approx(expected, rel=margin)

    def test_largest_stable_step_under_penalties(self):
        step = lambda a, r1, r2: float(
            games.largest_stable_step(
                lambda h: games.simultaneous(bilinear(a, r1, r2), step_size=h), ORIGIN, low=1e-3, high=9.0
            )
        )
        assert step(2.0, 0.5, 0.5) == pytest.approx(2 * 0.5 / (0.25 + 4.0), rel=1e4 * EPS)
        assert step(1.0, 0.4, 0.0) == pytest.approx(0.4, rel=1e4 * EPS)  # a penalty on one player only
        assert step(1.0, 3.0, 0.0) == pytest.approx(4 / (3 + np.sqrt(5)), rel=1e4 * EPS)

    def test_a_bracket_that_does_not_hold(self):
        make = lambda h: games.simultaneous(bilinear(1.0, 0.4, 0.0), step_size=h)
        with pytest.raises(ValueError, match="already unstable at low"):
            games.largest_stable_step(make, ORIGIN, low=1.0, high=2.0)
        with pytest.raises(ValueError, match="still stable at high"):
            games.largest_stable_step(make, ORIGIN, low=0.1, high=0.2)
        with pytest.raises(ValueError, match="high must exceed low"):
            games.largest_stable_step(make, ORIGIN, low=0.2, high=0.1)
        with pytest.raises(ValueError, match="low must be positive"):
            games.largest_stable_step(make, ORIGIN, low=0.0, high=0.1)
        assert np.isnan(jax.jit(lambda h: games.largest_stable_step(make, ORIGIN, low=1.0, high=h))(2.0))

    @pytest.mark.parametrize("size", [1, 50])
    @pytest.mark.parametrize("low", [1e-3, 1e-9])
    def test_rounding_is_never_the_answer(self, size, low):
        """On x y plain descent is unstable at every step, by h^2 / 2; the alternating rule is neutral up to 2."""
        field = games.vector_field((lambda p: p[0] @ p[1], lambda p: -p[0] @ p[1]))
        players = (jnp.zeros(size, FLOAT), jnp.zeros(size, FLOAT))
        find = lambda rule: games.largest_stable_step(lambda h: rule(field, step_size=h), players, low=low, high=5.0)
        with pytest.raises(ValueError, match="already unstable at low"):
            find(games.simultaneous)
        assert np.isnan(jax.jit(lambda: find(games.simultaneous))())
        assert float(find(games.alternating)) == pytest.approx(2, rel=1e-4)

    def test_a_tolerance_counts_as_stable(self):
        make = lambda h: games.simultaneous(bilinear(), step_size=h)  # unstable for every step: sqrt(1 + h^2)
        found = games.largest_stable_step(make, ORIGIN, low=1e-2, high=1.0, tolerance=0.01)
        assert float(found) == pytest.approx(np.sqrt(1.01**2 - 1), rel=1e3 * EPS)


class TestArnoldi:
    def test_a_full_space_gives_the_whole_spectrum(self, key):
        matrix = jnp.asarray(RNG.normal(size=(12, 12)), FLOAT)
        found = games.leading_eigenvalues(key, lambda x: matrix @ x, jnp.zeros(12, FLOAT), num_eigenvalues=12)
        assert paired(found.eigenvalues, np.linalg.eigvals(np.asarray(matrix, float))) < 1e4 * EPS
        assert np.all(np.asarray(found.residuals) < 1e3 * EPS)

    def test_leading_ones_of_a_game_against_the_dense_route(self, key):
        n = 150
        coupling = jnp.asarray(RNG.normal(size=(n, n)) / np.sqrt(4 * n), FLOAT)
        field = games.vector_field(
            (
                lambda p: p[0] @ coupling @ p[1] + 0.6 * jnp.sum(p[0] ** 2) - 1.5 * p[0][0] ** 2,
                lambda p: -p[0] @ coupling @ p[1] + 0.6 * jnp.sum(p[1] ** 2) - 1.0 * p[1][3] ** 2,
            )
        )
        players = (jnp.zeros(n, FLOAT), jnp.zeros(n, FLOAT))
        dense = games.linearize(field, players).eigenvalues
        found = jax.jit(lambda k: games.leading_eigenvalues(k, field, players, num_eigenvalues=2))(key)
        np.testing.assert_allclose(found.eigenvalues, dense[:2], atol=1e-6 if PRECISION == 64 else 1e-4)
        assert np.all(np.asarray(found.residuals) < 1e-4)
        assert float(dense[1].real - dense[2].real) > 0.3, "they stick out"

    def test_residuals_bound_the_error_of_a_symmetric_jacobian(self, key):
        values = np.sort(RNG.normal(size=200))[::-1]
        found = games.leading_eigenvalues(
            key, lambda x: jnp.asarray(values, FLOAT) * x, jnp.zeros(200, FLOAT), krylov_dimension=12
        )
        for theta, residual in zip(np.asarray(found.eigenvalues), np.asarray(found.residuals), strict=True):
            assert np.abs(values - theta).min() <= residual + 100 * EPS
        assert np.asarray(found.residuals).max() > 1e-3, "not converged yet, and it says so"

    def test_order_by_modulus_on_an_update(self, key):
        update = games.optimistic(SMOOTH, step_size=0.4)
        state = update.init(smooth_players())
        found = games.leading_eigenvalues(key, update.step, state, num_eigenvalues=4, by="modulus")
        np.testing.assert_allclose(
            np.abs(found.eigenvalues), np.abs(games.update_spectrum(update, smooth_players())[:4]), rtol=1e4 * EPS
        )

    def test_a_million_parameters(self, key):
        """Rotating pairs of known frequency far from the rest: found to rounding in a small space."""
        n = 500_000
        rate = jnp.linspace(1.0, 1.2, n, dtype=FLOAT).at[jnp.array([7, n // 2])].set(jnp.array([-0.5, 0.1], FLOAT))
        turn = jnp.zeros(n, FLOAT).at[jnp.array([7, n // 2])].set(jnp.array([3.0, 0.7], FLOAT))
        field = games.vector_field(
            (
                lambda p: jnp.sum(rate * p[0] ** 2) / 2 + jnp.sum(turn * p[0] * p[1]),
                lambda p: jnp.sum(rate * p[1] ** 2) / 2 - jnp.sum(turn * p[0] * p[1]),
            )
        )
        players = (jnp.zeros(n, FLOAT), jnp.zeros(n, FLOAT))
        find = jax.jit(lambda k: games.leading_eigenvalues(k, field, players, num_eigenvalues=4, krylov_dimension=20))
        found = find(key)
        expected = [0.5 + 3j, 0.5 - 3j, -0.1 + 0.7j, -0.1 - 0.7j]
        np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-5 if PRECISION == 64 else 1e-3)

    def test_an_invariant_subspace_is_left(self, key):
        """All directions are eigenvectors: the space closes at once, and fresh directions find the rest."""
        found = games.leading_eigenvalues(key, lambda x: -2 * x, jnp.zeros(9, FLOAT), num_eigenvalues=5)
        np.testing.assert_allclose(found.eigenvalues, -2, rtol=100 * EPS)
        zero = games.leading_eigenvalues(key, lambda x: 0 * x, jnp.zeros(9, FLOAT), num_eigenvalues=5)
        np.testing.assert_allclose(zero.eigenvalues, 0, atol=EPS)
        three = jnp.asarray([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, -3.0, -3.0, -3.0], FLOAT)
        found = games.leading_eigenvalues(key, lambda x: three * x, jnp.zeros(9, FLOAT), num_eigenvalues=9)
        np.testing.assert_allclose(found.eigenvalues.real, np.sort(three)[::-1], rtol=200 * EPS)

    def test_the_basis_stays_orthogonal_to_what_is_almost_in_it(self):
        from nsx.games._arnoldi import _orthogonal_part

        basis = jnp.asarray(np.linalg.qr(RNG.normal(size=(20, 5)))[0].T, FLOAT)
        x = 10 * jnp.sum(basis, axis=0) + jnp.asarray(RNG.normal(size=20), FLOAT) * 100 * EPS
        rest, _ = _orthogonal_part(basis, x)
        assert np.abs(basis @ rest).max() < 8 * EPS * np.linalg.norm(rest)

    def test_bad_input(self, key):
        run = lambda **kw: games.leading_eigenvalues(key, lambda x: x, jnp.zeros(4, FLOAT), **kw)
        with pytest.raises(ValueError, match="num_eigenvalues must be at most krylov_dimension"):
            run(num_eigenvalues=5)
        with pytest.raises(ValueError, match="krylov_dimension must be at least 1"):
            run(krylov_dimension=0)
        with pytest.raises(ValueError, match="by must be 'real' or 'modulus'"):
            run(num_eigenvalues=2, by="imaginary")
        with pytest.raises(ValueError, match="Jacobian holds NaN"):
            games.leading_eigenvalues(key, jnp.sqrt, -jnp.ones(4, FLOAT), num_eigenvalues=2)
        with pytest.raises(TypeError, match="point must hold real floating"):
            games.leading_eigenvalues(key, lambda x: x, jnp.zeros(4, jnp.int32))


class TestPenalties:
    def test_norm(self):
        tree = {"a": jnp.asarray([1.0, 2.0], FLOAT), "b": (jnp.asarray(3.0, FLOAT),)}
        assert float(games.norm_penalty(tree, strength=0.5)) == pytest.approx(0.25 * 14)
        gradient = jax.grad(lambda t: games.norm_penalty(t, strength=0.5))(tree)
        np.testing.assert_allclose(as_vector(gradient), 0.5 * as_vector(tree), rtol=10 * EPS)
        with pytest.raises(ValueError, match="strength must be in"):
            games.norm_penalty(tree, strength=-1.0)
        with pytest.raises(ValueError, match="strength must be in"):
            games.norm_penalty(tree, strength=np.nan)

    def test_entropy_bonus_makes_a_softmax_of_the_rewards(self):
        rewards = jnp.asarray([0.3, -1.0, 2.0, 0.0], FLOAT)
        loss = lambda z: -jax.nn.softmax(z) @ rewards + games.entropy_bonus(z, strength=0.7)
        np.testing.assert_allclose(jax.grad(loss)(rewards / 0.7), 0, atol=10 * EPS)
        assert np.abs(jax.grad(loss)(rewards)).max() > 0.01
        assert games.entropy_bonus(jnp.zeros((3, 4)), strength=1.0).shape == (3,)
        with pytest.raises(ValueError, match="strength must be in"):
            games.entropy_bonus(rewards, strength=-0.1)

    def test_gradient_penalty_by_hand(self):
        points, weights = RNG.normal(size=(5, 3)), np.array([0.1, 0.2, 0.3, 0.4, 0.0])
        critic = lambda x: jnp.sum(x**3) / 3
        norms = np.array([np.sqrt(np.sum(x**4)) for x in points])
        for target in (0.0, 1.0):
            found = games.gradient_penalty(critic, points, strength=0.6, target=target)
            assert float(found) == pytest.approx(0.3 * np.mean((norms - target) ** 2), rel=1e3 * EPS)
            found = games.gradient_penalty(critic, points, strength=0.6, target=target, weights=weights)
            assert float(found) == pytest.approx(0.3 * weights @ (norms - target) ** 2, rel=1e3 * EPS)

    def test_gradient_penalty_near_its_target(self):
        """The difference before the square: 1e-4 beside 1 leaves 1e-8, and nothing is negative."""
        for norm, target in ((1.0 + 2.0**-13, 1.0), (100.0 + 2.0**-10, 100.0), (99.99, 100.0)):
            slope = jnp.asarray([norm, 0.0], FLOAT)
            found = games.gradient_penalty(
                lambda x, w=slope: x @ w, jnp.zeros((1, 2), FLOAT), strength=2, target=target
            )
            exact = (float(slope[0]) - target) ** 2
            assert float(found) == pytest.approx(exact, rel=1e-2 if PRECISION == 32 else 1e-6)

    def test_gradient_penalty_has_a_finite_gradient_at_slope_zero(self):
        for target in (0.0, 1.0):
            penalty = lambda w, t=target: games.gradient_penalty(
                lambda x: x @ w, jnp.ones((2, 3), FLOAT), strength=1.0, target=t
            )
            assert np.all(np.asarray(jax.grad(penalty)(jnp.zeros(3, FLOAT))) == 0)
        if PRECISION == 64:
            w, e = jnp.array([0.3, -0.2, 0.9]), jnp.array([0.0, 1e-6, 0.0])
            np.testing.assert_allclose(jax.grad(penalty)(w)[1], (penalty(w + e) - penalty(w - e)) / 2e-6, rtol=1e-7)

    def test_gradient_penalty_refuses(self):
        with pytest.raises(ValueError, match=r"points must have shape \(m, d\)"):
            games.gradient_penalty(jnp.sum, jnp.zeros(3), strength=1.0)
        with pytest.raises(ValueError, match="critic must map one point"):
            games.gradient_penalty(lambda x: x, jnp.zeros((2, 3)), strength=1.0)
        with pytest.raises(ValueError, match=r"weights must have shape \(2,\)"):
            games.gradient_penalty(jnp.sum, jnp.zeros((2, 3)), strength=1.0, weights=jnp.ones(3))


class TestGenerator:
    DATA = RNG.dirichlet(np.ones(5), size=3)

    def test_losses_by_hand(self):
        logits, scores = RNG.normal(size=(2, 3, 5))
        same = lambda p: p
        losses = games.generator_learner(same, same, jnp.log(jnp.asarray(self.DATA, FLOAT)), negatives=4)
        players = (jnp.asarray(logits, FLOAT), jnp.asarray(scores, FLOAT))
        expected = oracle.game_losses(logits, scores, self.DATA, 4)
        np.testing.assert_allclose([loss(players) for loss in losses], expected, rtol=100 * EPS)

    def test_penalties_go_to_their_own_player(self):
        same = lambda p: p
        log_data = jnp.log(jnp.asarray(self.DATA, FLOAT))
        players = tuple(jnp.asarray(x, FLOAT) for x in RNG.normal(size=(2, 3, 5)))
        plain = games.generator_learner(same, same, log_data, negatives=4)
        rich = games.generator_learner(
            same, same, log_data, negatives=4, generator_norm=0.3, learner_norm=0.7, entropy_strength=0.9
        )
        extra = [float(r(players) - p(players)) for r, p in zip(rich, plain, strict=True)]
        diversity = float(jnp.mean(entropy.entropy(players[0], 1.0)))
        assert extra[0] == pytest.approx(0.15 * float(jnp.sum(players[0] ** 2)) - 0.9 * diversity, rel=1e3 * EPS)
        assert extra[1] == pytest.approx(0.35 * float(jnp.sum(players[1] ** 2)), rel=1e3 * EPS)

    def test_equilibrium_is_one_and_is_stable(self):
        """The field vanishes where the generator copies the data; the learner's curvature damps the rotation."""
        p, k = self.DATA[0], 4
        log_data = jnp.log(jnp.asarray(p, FLOAT))
        rest = games.generator_equilibrium(log_data, negatives=k)
        same = lambda x: x
        field = games.vector_field(games.generator_learner(same, same, log_data, negatives=k))
        players = (rest.log_q, rest.scores)
        assert np.abs(as_vector(field(players))).max() < 10 * EPS
        found = jax.jit(lambda z: games.linearize(field, z))(players)
        np.testing.assert_allclose(found.jacobian, oracle.game_jacobian(p, k), atol=20 * EPS)
        np.testing.assert_allclose(jnp.exp(rest.log_q), p, rtol=20 * EPS)
        np.testing.assert_allclose(rest.scores, -np.log(k), rtol=20 * EPS)
        np.testing.assert_allclose(rest.entropy, -np.sum(p * np.log(p)), rtol=20 * EPS)
        loss = oracle.game_losses(np.log(p)[None], np.full((1, 5), -np.log(k)), p[None], k)[1]
        np.testing.assert_allclose(rest.loss, loss, rtol=20 * EPS)

    def test_uniform_data_give_sixty_degrees(self):
        """Eigenvalues a / n (-1 +- i sqrt 3) / 2: a stable focus without any penalty, and one symmetry at 0."""
        n, k = 6, 3
        log_data = jnp.full(n, -np.log(n), FLOAT)
        rest = games.generator_equilibrium(log_data, negatives=k)
        same = lambda x: x
        field = games.vector_field(games.generator_learner(same, same, log_data, negatives=k))
        found = jax.jit(lambda p: games.linearize(field, p))((rest.log_q, rest.scores)).eigenvalues
        a = k / (1 + k) / n
        root = a * np.exp(2j * np.pi / 3)
        assert paired(found, [root, np.conj(root)] * (n - 1) + [0.0, -a]) < 10 * np.sqrt(EPS)

    def test_a_flax_learner(self, key):
        nn = pytest.importorskip("flax.linen")

        class Learner(nn.Module):
            @nn.compact
            def __call__(self, contexts):
                table = self.param("candidates", nn.initializers.normal(0.5), (5, 2))
                return nn.Embed(3, 2)(contexts) @ table.T + self.param("bias", nn.initializers.zeros, ())

        model, contexts = Learner(), jnp.arange(3)
        parameters = model.init(key, contexts)
        losses = games.generator_learner(
            lambda p: p, lambda p: model.apply(p, contexts), jnp.log(jnp.asarray(self.DATA, FLOAT)), negatives=4
        )
        players = (jnp.zeros((3, 5), FLOAT), parameters)
        scores = np.asarray(model.apply(parameters, contexts), float)
        expected = oracle.game_losses(np.zeros((3, 5)), scores, self.DATA, 4)
        np.testing.assert_allclose(jax.jit(lambda p: [loss(p) for loss in losses])(players), expected, rtol=1e-5)
        with jax.numpy_dtype_promotion("standard"):
            update = games.alternating(games.vector_field(losses), step_size=0.1)
            spectrum = jax.jit(lambda p: games.update_spectrum(update, p))(players)
        assert spectrum.shape == (15 + 6 + 10 + 1,)

    def test_masked_candidates_and_the_impossible_ones(self):
        log_data = jnp.asarray([np.log(0.5), np.log(0.5), -np.inf], FLOAT)
        same = lambda p: p
        shown = jnp.asarray([True, True, False])
        masked = lambda p: jnp.where(shown, p, -jnp.inf)
        field = games.vector_field(
            games.generator_learner(masked, same, log_data, negatives=2, generator_norm=0.1, entropy_strength=0.3)
        )
        moves = field((jnp.asarray([0.0, 1.0, 0.0], FLOAT), jnp.zeros(3, FLOAT)))
        assert np.all(np.isfinite(as_vector(moves)))
        assert float(moves[0][2]) == float(moves[1][2]) == 0
        rest = games.generator_equilibrium(log_data, negatives=2)
        assert float(rest.entropy) == pytest.approx(np.log(2), rel=10 * EPS)

    def test_bad_input(self):
        same, log_data = lambda p: p, jnp.zeros(3, FLOAT)
        with pytest.raises(ValueError, match="negatives must be positive"):
            games.generator_learner(same, same, log_data, negatives=0)
        with pytest.raises(ValueError, match="negatives must be positive"):
            games.generator_equilibrium(log_data, negatives=-1)
        losses = games.generator_learner(same, same, log_data, negatives=1)
        with pytest.raises(
            ValueError, match=r"scores of the learner must have the shape of log_data, \(3,\), got \(2,\)"
        ):
            losses[0]((jnp.zeros(3), jnp.zeros(2)))
        with pytest.raises(ValueError, match=r"logits of the generator must have the shape"):
            losses[1]((jnp.zeros((2, 3)), jnp.zeros(3)))


class TestCollapse:
    def test_law_is_a_rest_of_the_generator(self):
        """Autodiff of the full K-dimensional game vanishes where the one-dimensional law says."""
        for k, gap in ((5, 0.7), (100, 5.17)):
            ratio = games.collapse_penalty(gap, num_candidates=k)
            rewards = jnp.zeros(k, FLOAT).at[2].set(1.0)
            logits = jnp.full(k, -gap / k, FLOAT).at[2].set(gap * (k - 1) / k)
            loss = lambda z: -jax.nn.softmax(z) @ rewards + games.norm_penalty(z, strength=ratio)  # noqa: B023
            assert np.abs(jax.grad(loss)(logits)).max() < 10 * EPS

    def test_states_of_the_chapters_example(self):
        gaps = oracle.collapse_states(0.045, 100)
        assert len(gaps) == 3
        p = 1 / (1 + 99 * np.exp(-gaps))
        np.testing.assert_allclose(p[[0, 2]], [0.0134, 0.640], atol=5e-4)
        np.testing.assert_allclose(games.collapse_penalty(gaps, num_candidates=100), 0.045, rtol=1e-9 + 100 * EPS)

    def test_the_band_is_where_three_states_are(self):
        for k in (23, 40, 100, 1000, 100_000):
            band = games.collapse_band(k)
            low, high = float(band.low), float(band.high)
            count = lambda ratio: len(oracle.collapse_states(ratio, k))  # noqa: B023
            inside = np.linspace(low, high, 5)[1:-1]
            assert [count(r) for r in inside] == [3, 3, 3], k
            assert count(0.95 * low) == count(1.05 * high) == 1

    def test_it_opens_at_23(self):
        band = jax.jit(games.collapse_band)(jnp.arange(2, 40))
        opened = np.isfinite(np.asarray(band.low))
        assert list(opened) == list(np.arange(2, 40) >= 23)
        np.testing.assert_array_equal(opened, np.asarray(band.margin) > 0)
        np.testing.assert_allclose(1 + band.margin[20:22], [0.9974, 1.0244], atol=1e-4)
        x = np.linspace(1e-3, 10, 200_001)
        crest = np.max(x * np.tanh((np.log(99) - x) / 2)) - 1
        assert float(games.collapse_band(100).margin) == pytest.approx(crest, abs=1e-8 + 20 * EPS)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="num_candidates must be in"):
            games.collapse_band(1)
        with pytest.raises(ValueError, match="logit_gap must be positive"):
            games.collapse_penalty(0.0, num_candidates=5)
        with pytest.raises(ValueError, match="num_candidates must be in"):
            games.collapse_penalty(1.0, num_candidates=1)
