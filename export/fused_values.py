"""The encoders of single values as modules: the same numbers as `handlers.encoders` gives, in any runtime.

Raw numbers are float64, and NaN is missing; a token comes as its label, which is its index already.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchtowers.export.errors import ExportError
from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    VectorEncoder,
)

__all__ = ["RAW_TYPES", "value_module"]

# By the encoder's kind, what its feature is in a fused file, beside `string`.
RAW_TYPES: Mapping[str, str] = {
    BucketEncoder.kind: "float64",
    NumberEncoder.kind: "float64",
    TimestampEncoder.kind: "float64",
    VectorEncoder.kind: "float64",
    BooleanEncoder.kind: "int64",
}


class _Buckets(nn.Module):
    boundaries: Tensor

    def __init__(self, encoder: BucketEncoder) -> None:
        super().__init__()
        self.register_buffer("boundaries", torch.tensor(encoder.boundaries, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        """Give int64 `[batch]` of float64 `[batch]`."""
        buckets = 1 + (values.unsqueeze(1) >= self.boundaries).sum(1)
        return buckets.masked_fill(torch.isnan(values), 0)


class _Number(nn.Module):
    def __init__(self, encoder: NumberEncoder) -> None:
        super().__init__()
        self.is_log = encoder.transform == "log"
        self.mean = encoder.mean
        self.deviation = encoder.deviation
        reach = encoder.furthest * encoder.deviation
        self.least, self.most = encoder.mean - reach, encoder.mean + reach

    def forward(self, values: Tensor) -> Tensor:
        """Give float32 `[batch, 2]` of float64 `[batch]`."""
        missing = torch.isnan(values)
        known = values.masked_fill(missing, 0.0)
        if self.is_log:
            known = torch.sign(known) * torch.log1p(known.abs())
        standardised = (known.clamp(self.least, self.most) - self.mean) / self.deviation
        standardised = standardised.masked_fill(missing, 0.0)
        return torch.stack([standardised.float(), missing.float()], dim=1)


class _Boolean(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        """Give int64 `[batch]` of int64 `[batch]`: 0, 1, or another number where it is missing."""
        return (values + 1).masked_fill((values < 0) | (values > 1), 0)


class _Vector(nn.Module):
    def __init__(self, encoder: VectorEncoder) -> None:
        super().__init__()
        self.scale = encoder.scale
        self.furthest = encoder.furthest

    def forward(self, values: Tensor) -> Tensor:
        """Give float32 `[batch, width]` of float64 `[batch, width]`; NaN anywhere makes it missing."""
        missing = torch.isnan(values).any(dim=1, keepdim=True)
        scaled = (values.masked_fill(missing, 0.0) / self.scale).clamp(-self.furthest, self.furthest)
        return scaled.float()


class _Timestamp(nn.Module):
    hours: Tensor
    weekdays: Tensor

    def __init__(self, encoder: TimestampEncoder) -> None:
        super().__init__()
        self.reference = encoder.reference
        self.scale = encoder.scale
        self.per_second = float(encoder.per_second)
        self.latest = float(encoder.latest)
        self.register_buffer("hours", torch.from_numpy(np.array(encoder.hours)))
        self.register_buffer("weekdays", torch.from_numpy(np.array(encoder.weekdays)))

    def forward(self, values: Tensor) -> Tensor:
        """Give float32 `[batch, 6]` of float64 `[batch]`; what is no time from 1970 to 2100 is missing."""
        seconds = torch.floor(values / self.per_second)
        missing = torch.isnan(seconds) | ~((seconds >= 0.0) & (values / self.per_second <= self.latest))
        seconds = seconds.masked_fill(missing, 0.0)
        days = (self.reference - seconds) / 86400.0
        age = torch.sign(days) * torch.log1p(days.abs()) / self.scale
        # In doubles: torch's exporter to ONNX divides integers in floats of 32 bits.
        day = torch.floor(seconds / 86400.0)
        encoded = torch.cat(
            [
                age.float().unsqueeze(1),
                self.hours[(seconds - day * 86400.0).long()],
                # 1970-01-01 was a Thursday, and weeks begin on Monday.
                self.weekdays[(day.long() + 3) % 7],
            ],
            dim=1,
        )
        encoded = encoded.masked_fill(missing.unsqueeze(1), 0.0)
        return torch.cat([encoded, missing.float().unsqueeze(1)], dim=1)


_MODULES: dict[str, Any] = {
    TokenEncoder.kind: lambda _: nn.Identity(),
    BucketEncoder.kind: _Buckets,
    NumberEncoder.kind: _Number,
    BooleanEncoder.kind: lambda _: _Boolean(),
    VectorEncoder.kind: _Vector,
    TimestampEncoder.kind: _Timestamp,
}


def value_module(name: str, encoder: Encoder) -> nn.Module:
    """Make the module of an encoder of single values.

    Args:
        name: The feature's.
        encoder: Its encoder.

    Raises:
        ExportError: No operator of a graph can do what the encoder does.
    """
    buckets = getattr(encoder, "oov_buckets", 1)
    if encoder.kind not in _MODULES or buckets != 1:
        what = f"{encoder.kind} with oov_buckets {buckets}" if buckets != 1 else encoder.kind
        raise ExportError(
            f"feature {name} can't be fused: a {what} encoder works on a text's bytes or words, for which "
            "neither ONNX nor TorchScript has operators; export without --fused, or use a token feature with "
            "one row for unknown tokens"
        )
    module: nn.Module = _MODULES[encoder.kind](encoder)
    if any(not math.isfinite(value) for value in vars(module).values() if isinstance(value, float)):
        raise ExportError(f"feature {name} can't be fused: its bounds are beyond the floats")
    return module
