"""Games in NumPy float64: closed forms of the bilinear and Dirac games, every rule by hand, difference quotients."""

import numpy as np


def jacobian(function, z, h=1e-6):
    """Central differences, one column at a time."""
    z = np.asarray(z, float)
    columns = []
    for i in range(len(z)):
        e = np.zeros(len(z))
        e[i] = h
        columns.append((function(z + e) - function(z - e)) / (2 * h))
    return np.stack(columns, axis=1)


def step(rule, field, z, h, *, strength=0.0, previous=None, split=1):
    """One step of a rule on a vector z; the first `split` entries are player 0, the rest player 1."""
    v = field(z)
    if rule == "simultaneous":
        return z + h * v
    if rule == "alternating":
        z = np.array(z, float)
        z[:split] = z[:split] + (h * v)[:split]
        z[split:] = z[split:] + (h * field(z))[split:]
        return z
    if rule == "extragradient":
        return z + h * field(z + h * v)
    if rule == "optimistic":
        return z + 2 * h * v - h * previous
    j = jacobian(field, z)
    if rule == "consensus":
        return z + h * (v - strength * j.T @ v)
    if rule == "symplectic":
        return z + h * (v + strength * (j - j.T) @ v / 2)
    if rule == "implicit":
        new = np.array(z, float)
        for _ in range(50):
            new = new - np.linalg.solve(np.eye(len(z)) - h * jacobian(field, new), new - z - h * field(new))
        return new
    raise KeyError(rule)


def multipliers(rule, a, h, strength=0.0):
    """Of min over x, max over y of a x y, whose field has eigenvalues +- i a; sorted by modulus."""
    found = []
    for lam in (1j * a, -1j * a):
        if rule == "simultaneous":
            found.append(1 + h * lam)
        elif rule == "extragradient":
            found.append(1 + h * lam + (h * lam) ** 2)
        elif rule == "optimistic":
            found.extend(np.roots([1, -(1 + 2 * h * lam), h * lam]))
        elif rule in ("consensus", "symplectic"):
            found.append(1 + h * (lam - strength * a**2))
        elif rule == "implicit":
            found.append(1 / (1 - h * lam))
    if rule == "alternating":
        c = 1 - (h * a) ** 2 / 2
        found = [c + np.sqrt(complex(c**2 - 1)), c - np.sqrt(complex(c**2 - 1))]
    return np.array(sorted(found, key=lambda m: (-round(abs(m), 9), -m.imag)))


def stable_below(rule, a, strength=0.0):
    """The step at which the rule stops being stable on that game."""
    return {
        "alternating": 2 / a,
        "extragradient": 1 / a,
        "optimistic": 1 / (np.sqrt(3) * a),
        "consensus": 2 * strength / (1 + strength**2 * a**2),
        "symplectic": 2 * strength / (1 + strength**2 * a**2),
    }[rule]


def damped(r1, r2, a):
    """Eigenvalues of a x y with norm penalties r1 and r2 of the two players, larger real part first."""
    root = np.sqrt(complex((r1 - r2) ** 2 / 4 - a**2))
    return np.array([-(r1 + r2) / 2 + root, -(r1 + r2) / 2 - root])


def dirac_r1(gamma):
    """Dirac-GAN with a gradient penalty on the critic."""
    root = np.sqrt(complex(gamma**2 / 4 - 0.25))
    return np.array([-gamma / 2 + root, -gamma / 2 - root])


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def game_losses(logits, scores, data, k):
    """Generator's and learner's expected losses, one context and one candidate at a time."""
    generator, learner = 0.0, 0.0
    for phi, s, p in zip(logits, scores, data, strict=True):
        q = np.exp(phi - phi.max())
        q /= q.sum()
        for c in range(len(s)):
            generator -= k * q[c] * softplus(s[c]) / len(logits)
            learner += (p[c] * softplus(-s[c]) + k * q[c] * softplus(s[c])) / len(logits)
    return generator, learner


def game_jacobian(p, k):
    """At rest, one context with tables of logits and scores: [[0, a C], [-a C, -a diag(P)]], a = k / (1 + k)."""
    a, c = k / (1 + k), np.diag(p) - np.outer(p, p)
    return np.block([[np.zeros_like(c), a * c], [-a * c, -a * np.diag(p)]])


def collapse_states(ratio, candidates, grid=20001, top=60.0):
    """All gaps x > 0 with x = K / (K - 1) p (1 - p) / ratio, by sign changes on a grid and bisection."""

    def excess(x):
        p = 1 / (1 + (candidates - 1) * np.exp(-x))
        return candidates / (candidates - 1) * p * (1 - p) - ratio * x

    x = np.linspace(1e-9, top, grid)
    signs = np.sign(excess(x))
    found = []
    for i in np.flatnonzero(signs[:-1] != signs[1:]):
        low, high = x[i], x[i + 1]
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) * excess(low) > 0 else (low, middle)
        found.append(low)
    return np.array(found)
