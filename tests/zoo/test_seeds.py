from itertools import product

from zoo.seeds import seed_of


def test_places_have_seeds_of_their_own_and_keep_them():
    places = list(product(range(3), range(40), range(40)))
    assert len({seed_of(*place) for place in places}) == len(places)
    assert seed_of(1, 23) != seed_of(12, 3)
    assert seed_of("a", 1) != seed_of("a1")
    # Results on disk depend on these numbers.
    assert seed_of(0, 1, 2) == 1772749440416956875


def test_seeds_are_what_a_torch_generator_takes():
    assert all(0 <= seed_of(number) < 2**63 for number in range(200))
