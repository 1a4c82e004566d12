"""A small module around a bidirectional scan, for tests of torch.compile and torch.export."""

import torch

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan
from backbones.ops.selective_scan.table import choose


class Mixer(torch.nn.Module):
    """As few lines around a bidirectional scan as make its inputs channels-last views that need gradients."""

    def __init__(self, implementation, dim=12, state=4):
        super().__init__()
        choose(implementation)  # as the mixer of VideoMamba does: torch.compile cannot load a library
        self.implementation = implementation
        self.sizes = [dim, dim, dim, state, state]
        self.proj = torch.nn.Linear(dim, sum(self.sizes))
        self.A = torch.nn.Parameter(-torch.rand(dim, state))
        self.D = torch.nn.Parameter(torch.rand(dim))

    def forward(self, x):
        forward, backward, z, B, C = (t.mT for t in self.proj(x).split(self.sizes, -1))
        directions = (ScanInputs(x.mT, delta, self.A, B, C, self.D, self.D) for delta in (forward, backward))
        return bidirectional_scan(*directions, z, delta_softplus=True, implementation=self.implementation).mT


def assert_one_graph_agrees_with_eager(implementation, *, device="cpu", backend="aot_eager"):
    """Outputs and gradients of a compiled mixer, at two shapes."""
    torch.compiler.reset()
    mixer = Mixer(implementation).to(device)
    compiled = torch.compile(mixer, fullgraph=True, backend=backend)  # the second shape makes it symbolic
    for shape in ((2, 30, 12), (5, 41, 12)):
        x = torch.randn(shape, device=device)
        results = []
        for module in (compiled, mixer):
            mixer.zero_grad()
            out = module(x)
            out.square().sum().backward()
            results.append([out, *(p.grad for p in mixer.parameters())])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6 if device == "cpu" else 1e-4)
