"""Which photos `reconstruct` matches with which."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from astr_cli.errors import AstrError
from astr_cli.options.pairs import PairChoice
from astr_cli.pairs.reading import read_pairs
from astr_cli.pairs.writing import pairs_text
from astr_cli.sfm.pairs import automatic as module
from astr_cli.sfm.pairs.automatic import Source, choose_pairs, write_choice
from astr_cli.sfm.pairs.generators import NoPlacesError, Proposal

MANY = [f"img{number}.jpg" for number in range(61)]
CHAIN = list(itertools.pairwise(MANY))
AUTO = PairChoice()


def source(names: list[str], folder: Path = Path("photos")) -> Source:
    return Source(folder, names, "astr-small", "cpu")


@pytest.fixture
def proposals(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the two methods that look at photos propose, in place of looking."""
    found: dict[str, Any] = {"spatial": Proposal(CHAIN), "retrieval": Proposal([("img0.jpg", "img9.jpg")], ("odd",))}

    def propose(name: str) -> Any:
        if isinstance(found[name], Exception):
            raise found[name]
        return found[name]

    monkeypatch.setattr(module, "spatial", lambda *arguments, **options: propose("spatial"))
    monkeypatch.setattr(module, "retrieval", lambda *arguments, **options: propose("retrieval"))
    return found


def test_every_pair_of_a_few_in_the_order_of_their_numbers() -> None:
    chosen = choose_pairs(source(["b10.jpg", "b9.jpg", "a.jpg"]), AUTO)
    assert chosen == ("exhaustive", [("a.jpg", "b9.jpg"), ("a.jpg", "b10.jpg"), ("b9.jpg", "b10.jpg")], ())
    assert len(choose_pairs(source(MANY[:60]), AUTO).pairs) == 60 * 59 // 2


def test_of_many_the_nearest_where_all_have_a_place_else_the_most_alike(proposals: dict[str, Any]) -> None:
    said: list[str] = []
    assert choose_pairs(source(MANY), AUTO, said.append).method == "spatial"
    assert said == ["61 photos make 1830 pairs; astr pairs each photo with the 20 nearest ones by GPS"]
    for unfit in (Proposal(CHAIN, ("one has no place",)), Proposal(CHAIN[1:]), NoPlacesError("none has one")):
        proposals["spatial"] = unfit
        assert choose_pairs(source(MANY), AUTO, said.append) == (
            "retrieval",
            [("img0.jpg", "img9.jpg")],
            ("odd",),
        )
    assert said[-1] == "61 photos make 1830 pairs; astr pairs each photo with the 20 most similar ones"


def test_the_method_that_was_asked_for(proposals: dict[str, Any], tmp_path: Path) -> None:
    assert len(choose_pairs(source(MANY), PairChoice("exhaustive")).pairs) == 1830
    assert len(choose_pairs(source(MANY), PairChoice("sequential")).pairs) == 61 * 10 - 55
    assert choose_pairs(source(MANY[:5]), PairChoice("spatial")).pairs == CHAIN
    proposals["spatial"] = NoPlacesError("no photo has a place")
    with pytest.raises(NoPlacesError):
        choose_pairs(source(MANY), PairChoice("spatial"))
    with pytest.raises(AstrError, match="--pairs other: choose one of auto, exhaustive"):
        choose_pairs(source(MANY), PairChoice("other"))
    proposals["spatial"] = Proposal([])
    with pytest.raises(AstrError, match="finds no pairs"):
        choose_pairs(source(MANY), PairChoice("spatial"))
    (tmp_path / "my.txt").write_text(pairs_text(CHAIN[5:8]), encoding="utf-8")
    assert choose_pairs(source(MANY), PairChoice(str(tmp_path / "my.txt"))) == ("file", CHAIN[5:8], ())


def test_pairs_are_chosen_once(proposals: dict[str, Any], tmp_path: Path) -> None:
    path, said = tmp_path / "pairs.txt", []
    chosen = write_choice(path, source(MANY), AUTO, said.append)
    assert [(pair.name0, pair.name1) for pair in read_pairs(path).pairs] == CHAIN == chosen.pairs
    proposals["spatial"] = AssertionError("chosen already")
    assert write_choice(path, source(MANY), AUTO, said.append) == chosen and len(said) == 1
    # Other photos, another method: chosen anew.
    assert len(write_choice(path, source(MANY[:4]), AUTO, said.append).pairs) == 6
    assert len(write_choice(path, source(MANY[:4]), PairChoice("sequential"), said.append).pairs) == 6
    (tmp_path / "my.txt").write_text(pairs_text(CHAIN[:2]), encoding="utf-8")
    few = write_choice(path, source(MANY[:4]), PairChoice(str(tmp_path / "my.txt")), said.append)
    assert few.warnings == ("1 of 4 photos are in no pair (for example img3.jpg) and will have no pose",)
    path.write_text("nonsense of somebody else\n", encoding="utf-8")
    assert write_choice(path, source(MANY[:4]), AUTO, said.append).method == "exhaustive"
