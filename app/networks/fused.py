"""Modules that one library keeps whole and another in parts: q, k and v in one matrix, and their like.

A row of a table names the whole (native) module and its live parts from the top. The same row serves both ways:
a file with the whole on a model with the parts, and a file with parts on a model with the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.networks.natives import CLIP, FAMILIES, SWAPPED, Row
from app.networks.places import Place

SIBLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("to_qkv", ("to_q", "to_k", "to_v")),
    ("qkv", ("to_q", "to_k", "to_v")),
    ("to_added_qkv", ("add_q_proj", "add_k_proj", "add_v_proj")),
    ("in_proj", ("q_proj", "k_proj", "v_proj")),
)
"""Projections that lie beside each other under one parent, in any model."""


def places(tree: Mapping[str, Place]) -> Iterator[tuple[str, Place]]:
    """Other names with their places: of fused modules on a tree of parts, and of parts on a tree of fused modules.

    `tree` maps each live module's name to its whole weight.
    """
    indices = range(1 + max((int(part) for name in tree for part in name.split(".") if part.isdecimal()), default=-1))
    yield from _swapped(tree, indices)
    for whole, parts in _rows(tree):
        for index in indices if "{i}" in whole else range(1):
            name, members = whole.format(i=index), tuple(part.format(i=index) for part in parts)
            yield from _both_ways(tree, name, members)
    yield from _siblings(tree)


def _rows(tree: Mapping[str, Place]) -> tuple[Row, ...]:
    """The rows of the family that the tree's names show."""
    return next((table for sign, table in FAMILIES if any(name.endswith(sign) for name in tree)), CLIP)


def _both_ways(tree: Mapping[str, Place], whole: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Place]]:
    if all(part in tree for part in parts):
        yield whole, tuple(piece for part in parts for piece in tree[part])
    elif whole in tree and len(tree[whole]) == 1:
        (piece,) = tree[whole]
        top = 0
        for part, height in zip(parts, _heights(piece.height, len(parts)), strict=True):
            yield part, (piece.part(top, top + height),)
            top += height


def _heights(rows: int, parts: int) -> tuple[int, ...]:
    """Equal parts; of linear1's four, q, k and v are as high as the matrix is wide, and the feed-forward four times."""
    if parts == 4:
        return (rows // 7,) * 3 + (rows - 3 * (rows // 7),)
    return (rows // parts,) * parts


def _swapped(tree: Mapping[str, Place], indices: range) -> Iterator[tuple[str, Place]]:
    for whole, live in SWAPPED:
        for index in indices if "{i}" in whole else range(1):
            place = tree.get(live.format(i=index))
            following = live.format(i=index + 1)
            if place is not None and ("{i}" not in live or following not in tree):
                (piece,) = place
                half = piece.height // 2
                yield whole.format(i=index), (piece.part(half, 2 * half), piece.part(0, half))


def _siblings(tree: Mapping[str, Place]) -> Iterator[tuple[str, Place]]:
    for name in tree:
        parent, _, leaf = name.rpartition(".")
        for whole, parts in SIBLINGS:
            if leaf in (whole, parts[0]):
                stem = f"{parent}." if parent else ""
                yield from _both_ways(tree, stem + whole, tuple(stem + part for part in parts))
