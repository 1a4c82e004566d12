"""Cards of weights that nobody released, for tests that must not depend on the real ones."""

from zoo.card import Card, ClipSpec, Reported, Source, Weights


def card(architecture: str = "vit_pico", tag: str = "toy", **facts) -> Card:
    """A card; facts of its weights and of itself by their names, and `frames`."""
    weights = {key: facts.pop(key) for key in list(facts) if key in Weights.__dataclass_fields__}
    clip = ClipSpec(num_frames=facts.pop("frames", 16), sampling="uniform", img_size=224)
    return Card(architecture=architecture, tag=tag, weights=Weights(**{"sources": (), **weights}), clip=clip, **facts)


def zoo_of_cards() -> tuple[Card, ...]:
    """Three families, three licences, three data sets, one without a network."""
    return (
        card(
            "umt_base",
            "k400_f8",
            frames=8,
            dataset="k400",
            labels="k400_opengvlab",
            sources=(Source(url="https://example.org/a.pth"), Source(hf_repo="me/it", hf_file="a.pth")),
            code_licence="MIT",
            num_classes=400,
            sha256="ab" * 32,
            layout="UMT fine-tuned",
            entry="module",
            md5_prefix="1234",
            reported=(Reported("SSv2", "top-1", 70.8, "zoo"), Reported("K400", "top-1", 87.4, "README table 2")),
            notes=("table says 3 crops, script says 1",),
        ),
        card("umt_base", "ssv2_f8", frames=8, dataset="ssv2", weight_licence="CC-BY-NC-4.0", code_licence="MIT"),
        card(
            "videomae_base", "ssv2_f16", dataset="ssv2", labels="ssv2", reported=(Reported("SSv2", "top-1", 70.6, ""),)
        ),
        card("umt_mm_base", "pt_25m", frames=12, task="pretraining", code_licence="MIT", missing="it reads text"),
        card("vit_pico", "odd", dataset="k400", labels="k400_vjepa", weight_licence="ask the authors"),
    )
