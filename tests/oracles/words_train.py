"""SGNS on a block and on an epoch, one pair and one negative at a time, in float64."""

import math

import numpy as np


def sigma(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def pairs(ids, left, right):
    """(position of the centre, position of the neighbour) of every pair of a block."""
    window = (len(ids) - len(left)) // 2
    for t in range(len(left)):
        centre = t + window
        for other in range(centre - left[t], centre + right[t] + 1):
            if other != centre:
                yield centre, other


def block_gradient(word, context, ids, left, right, noise, weights):
    """Gradient of the summed loss in both tables; noise word noise[l] counts weights[l] times for every pair."""
    dword, dcontext = np.zeros_like(word), np.zeros_like(context)
    for i, j in pairs(ids, left, right):
        w, c = ids[i], ids[j]
        pull = -sigma(-word[w] @ context[c])
        dword[w] += pull * context[c]
        dcontext[c] += pull * word[w]
        for z, weight in zip(noise, weights, strict=True):
            push = weight * sigma(word[w] @ context[z])
            dword[w] += push * context[z]
            dcontext[z] += push * word[w]
    return dword, dcontext


def block_loss(word, context, ids, left, right, noise, weights):
    total = 0.0
    for i, j in pairs(ids, left, right):
        total += softplus(-word[ids[i]] @ context[ids[j]])
        for z, weight in zip(noise, weights, strict=True):
            total += weight * softplus(word[ids[i]] @ context[z])
    return total


def epoch(word, context, steps, negatives, rates):
    """Steps, each a list of (ids, left, right, noise) blocks whose gradients at the same parameters are summed."""
    for blocks, rate in zip(steps, rates, strict=True):
        updates = [block_gradient(word, context, i, l, r, z, [negatives / len(z)] * len(z)) for i, l, r, z in blocks]
        word = word - rate * sum(u[0] for u in updates)
        context = context - rate * sum(u[1] for u in updates)
    return word, context


def nearest(vectors, i, k):
    cosine = [
        -np.inf if j == i else float(v @ vectors[i] / (np.linalg.norm(v) * np.linalg.norm(vectors[i])))
        for j, v in enumerate(vectors)
    ]
    return sorted(range(len(vectors)), key=lambda j: -cosine[j])[:k]
