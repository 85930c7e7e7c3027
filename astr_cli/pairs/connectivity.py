"""How pairs connect the images: the groups that a reconstruction can join, and the images that all depends on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LISTED = 5  # groups that are written out


@dataclass(frozen=True)
class Connectivity:
    """The graph with images as nodes and pairs as edges."""

    images: int
    pairs: int
    components: tuple[tuple[str, ...], ...]
    """Groups of images that pairs connect, largest first; an image without pairs is a group of one."""
    articulation: tuple[str, ...]
    """Images without which a component falls apart, in the order given."""
    degrees: tuple[int, int, int]
    """Fewest, median and most pairs of an image."""

    @property
    def alone(self) -> tuple[str, ...]:
        """Images without any pair."""
        return tuple(part[0] for part in self.components if len(part) == 1)

    @property
    def apart(self) -> str | None:
        """A warning of groups that no pair joins; None: there is one group at most."""
        sizes = [len(part) for part in self.components if len(part) > 1]
        if len(sizes) < 2:
            return None
        shown = ", ".join(map(str, sizes[:LISTED])) + (", ..." if len(sizes) > LISTED else "")
        return f"no pair connects the {len(sizes)} groups of {shown} photos, so each becomes a separate model"


def connectivity(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Connectivity:
    """The graph of `pairs` over `names`, which must hold every name of a pair. A repeated pair counts once."""
    index = {name: number for number, name in enumerate(names)}
    neighbours: list[set[int]] = [set() for _ in names]
    for name0, name1 in pairs:
        if name0 != name1:
            neighbours[index[name0]].add(index[name1])
            neighbours[index[name1]].add(index[name0])
    ordered = [sorted(near) for near in neighbours]
    components, cuts = _depth_first(ordered)
    degrees = sorted(len(near) for near in ordered) or [0]
    return Connectivity(
        images=len(names),
        pairs=sum(len(near) for near in ordered) // 2,
        components=tuple(
            tuple(names[number] for number in part) for part in sorted(components, key=lambda part: (-len(part), part))
        ),
        articulation=tuple(names[number] for number in sorted(cuts)),
        degrees=(degrees[0], degrees[len(degrees) // 2], degrees[-1]),
    )


def _depth_first(neighbours: Sequence[Sequence[int]]) -> tuple[list[list[int]], set[int]]:
    """Components and articulation nodes (Hopcroft and Tarjan 1973), without recursion: a video is a deep graph."""
    order = [-1] * len(neighbours)  # when a node was first seen
    low = [0] * len(neighbours)  # the earliest node that its part of the tree reaches back to
    components: list[list[int]] = []
    cuts: set[int] = set()
    for root in range(len(neighbours)):
        if order[root] >= 0:
            continue
        part = [root]
        order[root] = low[root] = 0
        branches = 0
        path = [(root, -1, iter(neighbours[root]))]
        while path:
            node, parent, left = path[-1]
            following = next(left, None)
            if following is None:
                path.pop()
                if parent >= 0:
                    low[parent] = min(low[parent], low[node])
                    if parent == root:
                        branches += 1
                    elif low[node] >= order[parent]:
                        cuts.add(parent)
            elif order[following] < 0:
                order[following] = low[following] = len(part)
                part.append(following)
                path.append((following, node, iter(neighbours[following])))
            elif following != parent:
                low[node] = min(low[node], order[following])
        if branches > 1:
            cuts.add(root)
        components.append(sorted(part))
    return components, cuts
