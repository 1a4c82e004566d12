"""Cards: every architecture and released checkpoint, one file per family, named once in this list."""

from zoo.card import Architecture, Card
from zoo.cards import clip, frozen, lvmae, magvit, timesformer, umt, videomamba, vit, vjepa

FAMILIES = (vit, lvmae, timesformer, videomamba, umt, vjepa, magvit, clip, frozen)
ARCHITECTURES: tuple[Architecture, ...] = tuple(entry for family in FAMILIES for entry in family.ARCHITECTURES)
CARDS: tuple[Card, ...] = tuple(card for family in FAMILIES for card in family.CARDS)
