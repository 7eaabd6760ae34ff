"""YAML as people write configurations: `1e-3` is a number, and a key may stand once."""

import re
from typing import Any

import yaml

__all__ = ["load_yaml"]


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's numbers, and without silently replaced keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.value[place][0].start_mark
                )
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot and a signed exponent in a float, and takes 1e-3 for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        yaml.YAMLError: It is no YAML, or a key stands twice in one mapping.
    """
    return yaml.load(text, _Loader)
