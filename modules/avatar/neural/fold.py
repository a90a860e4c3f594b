"""Batch norms folded into the convolutions before them: the same function with a third fewer passes over memory."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_norms(network: Network) -> Network:
    """``network`` itself, in eval mode, with every norm right behind a convolution of the same Sequential folded in.

    Folded norms become Identity, so the state dict loses their keys: load weights first, and fold in float32. What
    comes out differs by rounding only (under 1e-4 of the largest value). A norm without running statistics, or behind
    a grouped ConvTranspose2d, stays. Maths: Ioffe and Szegedy, "Batch Normalization" (2015), at inference.
    """
    network.eval()
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (at, convolution), (behind, norm) in pairwise(list(block.named_children())):
            if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
                continue
            if isinstance(convolution, nn.Conv2d):
                setattr(block, at, fuse_conv_bn_eval(convolution, norm))
            elif isinstance(convolution, nn.ConvTranspose2d) and convolution.groups == 1:
                setattr(block, at, fuse_conv_bn_eval(convolution, norm, transpose=True))
            else:
                continue
            setattr(block, behind, nn.Identity())
    return network
