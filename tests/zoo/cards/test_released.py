"""The cards of VideoMamba, UMT, VideoMAE, mae_st and CLIP against the registry of released files."""

import re
from collections import Counter
from urllib.parse import urlparse

import pytest
import torch

import zoo
from backbones.meta import meta_device
from tests.zoo.cards.facts import BUILDABLE, CARDS, RELEASED, entries, of_card, of_entry
from zoo.registry import architectures

HOSTS = {"pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com", "drive.google.com", "dl.fbaipublicfiles.com"}
CLASSES = {
    "k400": 400,
    "k600": 600,
    "k700": 700,
    "k710": 710,
    "ssv2": 174,
    "in1k": 1000,
    "breakfast": 10,
    "coin": 180,
    "mitv1": 339,
    "ava22": 80,
    "ucf101": 101,
}
ONE_PER_FORM = {
    "videomamba_tiny.in1k_res224to448to576",
    "videomamba_middle.k400_mask_ft_f64_res224to384",
    "videomamba_middle_pretrain.k400_mask_pt_f8_res224",
    "umt_base.k710_pt_f8_res224",
    "umt_base.k710_ft_k400_ft_mitv1_f8_res384",
    "umt_base.k710_ft_ava22_f8_res224",
    "clip_visual_base_patch16.openai",
    "videomae_small.ssv2_pt_e2400_ssv2_ft",
    "videomae_base.k400_pt_e800",
    "mae_st_huge.k400_pt",
}


def one_per_form(names) -> list:
    """Names as parameters of a test, all but one per form slow."""
    return [pytest.param(it, marks=() if it in ONE_PER_FORM else pytest.mark.slow) for it in names]


def test_every_entry_has_one_card_and_every_card_one_entry():
    assert Counter(card.name for card in RELEASED) == Counter(list(entries()))
    assert len(RELEASED) == 137
    assert len(BUILDABLE) == 108


def test_files_clips_views_classes_data_and_numbers_are_the_registrys():
    found = {name: of_card(card) for name, card in CARDS.items()}
    for name, entry in entries().items():
        assert found[name] == of_entry(entry), name


def test_md5_prefixes_and_revisions_are_the_registrys():
    for name, entry in entries().items():
        weights = CARDS[name].weights
        assert weights.md5_prefix == entry.get("md5_prefix", ""), name
        assert {it.hf_revision for it in weights.sources} == {entry.get("hf_revision", "main")}, name


def test_options_are_those_of_the_registrys_constructors():
    names = {
        "img_size": ("img_size", "input_resolution"),
        "patch_size": ("patch_size",),
        "embed_dim": ("embed_dim", "encoder_embed_dim", "width"),
        "depth": ("depth", "encoder_depth", "layers"),
        "num_heads": ("num_heads", "encoder_num_heads", "heads"),
        "num_frames": ("num_frames",),
        "tubelet_size": ("tubelet_size", "t_patch_size", "kernel_size"),
    }
    checked = 0
    for name, card in BUILDABLE.items():
        entry = entries()[name]
        theirs = entry.get("arch_kwargs") or entry["kwargs"]
        ours = {**zoo.registry.builder_options(architectures()[card.architecture]), **card.overrides}
        for option, spellings in names.items():
            value = next((theirs[it] for it in spellings if it in theirs), None)
            if value is not None and option in ours:
                assert ours[option] == value, (name, option)
                checked += 1
    assert checked > 500


def test_every_number_and_file_in_a_warning_of_the_registry_stands_in_a_note_or_is_reported():
    for name, entry in entries().items():
        notes = " ".join([*CARDS[name].notes, *(str(it.value) for it in CARDS[name].reported)])
        for warning in [*(entry.get("warnings") or []), *(entry.get("notes") or [])]:
            told = set(re.findall(r"\w+\.pth|\d+(?:\.\d+)?", warning))
            assert told <= set(re.findall(r"\w+\.pth|\d+(?:\.\d+)?", notes)), (name, warning)
        assert not (entry.get("warnings") or entry.get("notes")) or notes, name


def test_what_a_file_started_from_is_said():
    files = {entry["file"].removesuffix(".pth"): name for name, entry in entries().items() if entry.get("file")}
    for name, entry in entries().items():
        if start := entry.get("initialised_from") or entry.get("self_distilled_from"):
            assert f"from {files.get(start, start)}" in " ".join(CARDS[name].notes), name


def test_every_entry_of_a_network_that_is_not_there_says_why():
    missing = {name: card for name, card in CARDS.items() if card.missing}
    assert Counter(card.architecture for card in missing.values()) == {
        "umt_mm_base": 13,
        "umt_mm_large": 13,
        "videomamba_middle_mm": 3,
    }
    assert all("not part of the zoo yet" in card.missing for card in missing.values())
    assert not {card.architecture for card in missing.values()} & set(architectures())


def test_no_two_cards_share_a_file():
    counted = Counter(source for card in CARDS.values() for source in card.weights.sources)
    assert [source for source, count in counted.items() if count > 1] == []


def test_every_source_is_a_file_of_a_hub_repository_or_an_https_address_of_a_known_host():
    for name, card in CARDS.items():
        assert card.weights.sources, name
        for source in card.weights.sources:
            if source.hf_repo:
                assert (source.url, bool(source.hf_file)) == ("", True), name
                assert re.fullmatch(r"(OpenGVLab|MCG-NJU|openai)/[\w.-]+", source.hf_repo), name
            else:
                address = urlparse(source.url)
                assert (address.scheme, address.hostname in HOSTS) == ("https", True), name
                assert not source.hf_file, name


def test_hub_files_come_first():
    for name, card in CARDS.items():
        on_hub = [bool(source.hf_repo) for source in card.weights.sources]
        assert on_hub == sorted(on_hub, reverse=True), name


def test_every_number_has_a_source_and_stands_once():
    for name, card in CARDS.items():
        assert all(re.match(r"OpenGVLab/|MCG-NJU/|facebookresearch/|arXiv \d", it.source) for it in card.reported), name
        assert max(Counter((it.dataset, it.metric) for it in card.reported).values(), default=1) == 1, name


def test_licences_of_code_and_weights_are_said():
    for name, card in CARDS.items():
        weights = card.weights
        assert weights.code_licence in ("Apache-2.0", "MIT", "CC-BY-NC-4.0"), name
        assert weights.weight_licence.startswith(weights.code_licence), name
        if not card.missing:
            assert architectures()[card.architecture].code_licence.startswith(weights.code_licence), name


def test_classes_are_those_of_the_data_set_and_files_without_classifier_have_none():
    for name, card in CARDS.items():
        classified = card.task in ("classification", "detection")
        assert card.weights.num_classes == (CLASSES[card.dataset] if classified else 0), name


def test_classes_are_in_the_familys_order_and_files_without_classifier_name_no_order():
    for name, card in CARDS.items():
        family = architectures()[card.architecture].family if not card.missing else ""
        if not card.weights.num_classes:
            assert card.labels == "", name
        elif card.dataset in ("k400", "k600", "k700", "k710"):
            # VideoMAE's lists are those of transformers and MMAction2.
            assert card.labels == f"{card.dataset}_{'alphabetical' if family == 'videomae' else 'opengvlab'}", name
        else:
            assert card.labels == ("ssv2" if card.dataset == "ssv2" else ""), name


def test_left_and_right_are_part_of_something_something():
    motion = [card for card in CARDS.values() if card.dataset == "ssv2"]
    assert len(motion) == 21
    assert not any(card.clip.flip for card in motion)
    tested = [card for card in motion if card.task == "classification"]
    assert {(card.clip.sampling, card.clip.clips, card.clip.crops) for card in tested} == {("segments", 2, 3)}


def test_images_are_cropped_to_seven_eighths_of_their_short_side():
    clips = {card.clip.img_size: card.clip for card in CARDS.values() if card.dataset == "in1k"}
    assert {size: clip.short_side for size, clip in clips.items()} == {224: 256, 448: 512, 576: 658}
    assert all((clip.num_frames, clip.interpolation) == (1, "bicubic") for clip in clips.values())


def test_layouts_are_converters_of_the_architecture_and_left_open_only_where_two_forms_are_offered():
    for name, card in BUILDABLE.items():
        known = {converter.name for converter in architectures()[card.architecture].converters}
        sources = card.weights.sources
        two_forms = any(it.hf_repo.startswith("MCG-NJU/") for it in sources) and any(it.url for it in sources)
        assert card.weights.layout in ({""} if two_forms else known), name


def test_the_breakfast_file_with_a_table_for_32_frames_is_the_only_one_to_be_interpolated():
    resized = [name for name, card in CARDS.items() if card.resize_positions]
    assert resized == ["videomamba_middle.breakfast_mask_ft_f64_res224"]
    assert any("32" in note and "interpolated" in note for note in CARDS[resized[0]].notes)


@pytest.mark.parametrize("name", one_per_form(BUILDABLE))
def test_the_network_of_a_card_builds_for_its_clip(name):
    card = CARDS[name]
    with meta_device():
        model = zoo.create_model(name)
    assert model.num_classes == card.weights.num_classes
    assert model.spec.clip == card.clip
    clip = card.clip
    grid = model.backbone.grid(torch.empty(1, 3, clip.num_frames, clip.img_size, clip.img_size, device="meta"))
    assert getattr(model.backbone, "table_grid", None) in (None, grid)


def test_a_pretrained_card_is_a_feature_extractor_until_classes_are_asked_for():
    with meta_device():
        features = zoo.create_model("videomae_small.k400_pt_e1600")
        classifier = zoo.create_model("videomae_small.k400_pt_e1600", num_classes=7)
        detector = zoo.create_model("umt_base.k710_ft_ava22_f8_res224", num_classes=7)
        patches = zoo.create_model("mae_st_huge.k400_pt", num_classes=7).backbone.patch_embed.proj.weight.shape[2:]
    assert patches == (2, 14, 14)
    assert isinstance(features.backbone.norm, torch.nn.LayerNorm)
    assert isinstance(classifier.backbone.norm, torch.nn.Identity)
    assert isinstance(classifier.head.norm, torch.nn.LayerNorm)
    assert isinstance(detector.backbone.norm, torch.nn.LayerNorm)
