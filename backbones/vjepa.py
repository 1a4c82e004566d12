"""V-JEPA and V-JEPA 2: sizes and forms of the plain vision transformer of `backbones.vit`.

Sources: Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from Video" (arXiv
2404.08471) and facebookresearch/jepa; Assran et al., "V-JEPA 2" (arXiv 2506.09985) and facebookresearch/vjepa2.
"""

from functools import partial

from backbones.layers import Flavor
from backbones.vit import ViT

# src/models/vision_transformer.py of both repositories. All published models of the first have uniform_power on.
VJEPA = Flavor(positions="vjepa", qkv_bias="qkv", start="normal")
VJEPA_IMAGE = Flavor(positions="vjepa_image", qkv_bias="qkv", start="normal")
VJEPA2 = Flavor(positions="rotary", qkv_bias="qkv", start="normal_rescaled")
# The hidden width of the giant models' MLPs is 48 / 11 times the token width: 6144.
VJEPA2_GIANT = Flavor(positions="rotary", qkv_bias="qkv", start="normal_rescaled", mlp_ratio=48 / 11)
# Drawn as vit_pico: a standard deviation of 0.02 suits widths from 384.
VJEPA_PICO = Flavor(positions="vjepa", qkv_bias="qkv")
VJEPA2_PICO = Flavor(positions="rotary", qkv_bias="qkv")

vjepa_tiny = partial(ViT, embed_dim=192, depth=12, num_heads=3, flavor=VJEPA)
vjepa_small = partial(ViT, embed_dim=384, depth=12, num_heads=6, flavor=VJEPA)
vjepa_base = partial(ViT, embed_dim=768, depth=12, num_heads=12, flavor=VJEPA)
vjepa_large = partial(ViT, embed_dim=1024, depth=24, num_heads=16, flavor=VJEPA)
vjepa_huge = partial(ViT, embed_dim=1280, depth=32, num_heads=16, flavor=VJEPA)
vjepa2_large = partial(ViT, img_size=256, num_frames=64, embed_dim=1024, depth=24, num_heads=16, flavor=VJEPA2)
vjepa2_huge = partial(ViT, img_size=256, num_frames=64, embed_dim=1280, depth=32, num_heads=16, flavor=VJEPA2)
# "giant_xformers" of the authors: 22 heads instead of 16.
vjepa2_giant = partial(ViT, img_size=256, num_frames=64, embed_dim=1408, depth=40, num_heads=22, flavor=VJEPA2_GIANT)
# For the embedded clips of 16 x 24 x 24: the size of the other small members.
vjepa_pico = partial(ViT, img_size=24, patch_size=8, embed_dim=64, depth=4, num_heads=4, flavor=VJEPA_PICO)
vjepa2_pico = partial(ViT, img_size=24, patch_size=8, embed_dim=64, depth=4, num_heads=4, flavor=VJEPA2_PICO)
