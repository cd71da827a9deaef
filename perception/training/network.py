"""The network: MobileNetV2 backbone with five SSDLite heads, sigmoid classes, no background class.

Sources: Sandler et al., "MobileNetV2" (2018), table 2 and section 6.2 (SSDLite); Liu et al., "SSD" (2016). Two
changes: a head at stride 8 (the median ball is 10 px wide), which also sees the stride-16 features, upsampled, so
that an orange speck in the crowd and one on the carpet look different; and classes are independent sigmoids.

Padding is static. The pattern of `BACKBONE_PADS` is what TensorFlow's SAME gave at the 300x300 input of the warm-start
weights; kept at every other input size, so the backbone computes exactly what was trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from perception.detection.anchors import AnchorSpec

# expansion, output channels, repeats, first stride (MobileNetV2, table 2)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
LATE, SYMMETRIC = (0, 1, 0, 1), (1, 1, 1, 1)  # left, right, top, bottom
BACKBONE_PADS = (LATE, LATE, SYMMETRIC, LATE, SYMMETRIC)  # of the five stride-2 layers
EXTRA_PADS = (SYMMETRIC, SYMMETRIC)  # the first was LATE there; symmetric ones round odd grids up, as anchors do
CLASSES = 3
PRIOR = 0.01  # score of an untrained head: keeps the thousands of negatives from drowning the first steps


def channels(count: int, width: float) -> int:
    """Scale a number of channels, rounded to a multiple of 8 and never below 90 % (as MobileNet does)."""
    scaled = max(8, int(count * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * count * width else scaled


class ConvBn(nn.Module):
    """Convolution with static padding, batch norm, optional ReLU6; the only building block."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        relu: bool = True,
        pad: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__()
        same = kernel // 2
        left, right, top, bottom = pad if pad is not None else (same, same, same, same)
        symmetric = left == right == top == bottom
        self.pad = nn.Identity() if symmetric else nn.ZeroPad2d((left, right, top, bottom))
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=left if symmetric else 0, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.ReLU6(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        result: Tensor = self.act(self.bn(self.conv(self.pad(x))))
        return result


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, pad: tuple[int, int, int, int] | None):
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvBn(inputs, hidden) if expansion != 1 else nn.Identity()
        self.depthwise = ConvBn(hidden, hidden, 3, stride, groups=hidden, pad=pad)
        self.project = ConvBn(hidden, outputs, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        result: Tensor = x + y if self.residual else y
        return result


class Head(nn.Module):
    """SSDLite predictor: a depthwise 3x3, then one 1x1 for classes and boxes of all anchors of a cell."""

    def __init__(self, inputs: int, shapes: int) -> None:
        super().__init__()
        self.depthwise = ConvBn(inputs, inputs, 3, groups=inputs)
        self.classes = nn.Conv2d(inputs, shapes * CLASSES, 1)
        self.boxes = nn.Conv2d(inputs, shapes * 4, 1)
        for layer in (self.classes, self.boxes):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(cast(Tensor, layer.bias), 0.0)
        nn.init.constant_(cast(Tensor, self.classes.bias), math.log(PRIOR / (1.0 - PRIOR)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inputs, H, W) to logits (B, H * W * shapes, 3) and offsets (B, H * W * shapes, 4)."""
        x = self.depthwise(x)
        logits, offsets = self.classes(x).permute(0, 2, 3, 1), self.boxes(x).permute(0, 2, 3, 1)
        batch = x.shape[0]
        return logits.reshape(batch, -1, CLASSES), offsets.reshape(batch, -1, 4)


class SsdLite(nn.Module):
    """The detector network for one `AnchorSpec` (five heads, strides 8 to 128).

    Args:
        anchors: default boxes; its input size fixes the feature maps.
        width: channel multiplier of the backbone (1.0 for warm-started weights).
    """

    def __init__(self, anchors: AnchorSpec, width: float = 1.0) -> None:
        super().__init__()
        if anchors.strides_px != (8, 16, 32, 64, 128):
            raise ValueError(f"the heads sit at strides 8, 16, 32, 64, 128, not {anchors.strides_px}")
        self.anchors = anchors
        pads = iter(BACKBONE_PADS)
        current = channels(32, width)
        self.stem = ConvBn(3, current, 3, 2, pad=next(pads))
        blocks: list[InvertedResidual] = []
        for expansion, outputs, repeats, first_stride in STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                pad = next(pads) if stride == 2 else None
                blocks.append(InvertedResidual(current, channels(outputs, width), stride, expansion, pad))
                current = channels(outputs, width)
        self.blocks = nn.ModuleList(blocks)
        last = channels(1280, width) if width >= 1 else channels(640, width)
        self.last = ConvBn(current, last)
        sizes = [channels(c, width) for c in (256, 512, 128, 256)]
        self.extras = nn.ModuleList(
            [
                nn.Sequential(ConvBn(last, sizes[0]), ConvBn(sizes[0], sizes[1], 3, 2, pad=EXTRA_PADS[0])),
                nn.Sequential(ConvBn(sizes[1], sizes[2]), ConvBn(sizes[2], sizes[3], 3, 2, pad=EXTRA_PADS[1])),
            ]
        )
        fine, middle = (cast(ConvBn, blocks[i].expand).conv.out_channels for i in (6, 13))
        context = channels(64, width)
        self.context = ConvBn(middle, context)
        inputs = (fine + context, middle, last, sizes[1], sizes[3])
        self.heads = nn.ModuleList([Head(c, len(s)) for c, s in zip(inputs, anchors.shapes_px, strict=True)])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from (B, 3, H, W) RGB in [-1, 1]: logits (B, A, 3) and offsets (B, A, 4), see `detection.decode`."""
        x = self.stem(images)
        for block in self.blocks[:6]:
            x = block(x)
        fine, x = self._tapped(6, x)
        for block in self.blocks[7:13]:
            x = block(x)
        middle, x = self._tapped(13, x)
        for block in self.blocks[14:]:
            x = block(x)
        features = [fine, middle, self.last(x)]
        for extra in self.extras:
            features.append(extra(features[-1]))
        context = nn.functional.interpolate(self.context(middle), scale_factor=2.0, mode="nearest")
        features[0] = torch.cat([fine, context], dim=1)
        outputs = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        return torch.cat([o[0] for o in outputs], dim=1), torch.cat([o[1] for o in outputs], dim=1)

    def _tapped(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a stride-2 block; also return its expansion, the last features before the picture shrinks."""
        block = cast(InvertedResidual, self.blocks[index])
        tap: Tensor = block.expand(x)
        return tap, block.project(block.depthwise(tap))

    def warm_layers(self) -> Iterator[ConvBn]:
        """Yield the layers that the warm-start weights fill, in the order of the source file."""
        yield self.stem
        for block in cast(list[InvertedResidual], list(self.blocks)):
            for part in (block.expand, block.depthwise, block.project):
                if isinstance(part, ConvBn):
                    yield part
        yield self.last
        for extra in self.extras:
            yield from cast(nn.Sequential, extra)  # type: ignore[misc]

    def freeze(self, blocks: int) -> None:
        """Stop training the stem and the first `blocks` blocks (their batch norm too, see `train_mode`)."""
        self.frozen: Sequence[nn.Module] = [self.stem, *self.blocks[:blocks]] if blocks else []
        for module in self.frozen:
            module.requires_grad_(False)

    def train_mode(self) -> None:
        """`train()`, but frozen layers keep their batch-norm statistics."""
        self.train()
        for module in getattr(self, "frozen", []):
            module.eval()
