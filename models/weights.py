"""A model's weights as named tensors, each once."""

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["load_weights", "weights_of"]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Give a model's state; of a tensor that two of its modules share, only under the first name.

    A file of safetensors refuses to hold the same memory twice.
    """
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take back what `weights_of` gave for a model of the same structure.

    Raises:
        RuntimeError: They are of another model.
    """
    shared = model.state_dict().keys() - weights_of(model).keys()
    found = model.load_state_dict(tensors, strict=False)
    missing = sorted(set(found.missing_keys) - shared)
    if missing or found.unexpected_keys:
        raise RuntimeError(f"missing: {missing}, unexpected: {sorted(found.unexpected_keys)}")
