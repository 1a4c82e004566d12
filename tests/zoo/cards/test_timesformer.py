from zoo.cards.timesformer import ARCHITECTURES


def test_published_sizes_read_the_class_token_and_small_ones_average():
    pools = {architecture.name: architecture.classifier.pool for architecture in ARCHITECTURES}
    assert pools["timesformer_tiny"] == "cls"
    for name, pool in pools.items():
        assert pool == ("mean" if name.endswith("_pico") else "cls"), name
