"""What peft and diffusers keep of an adapter outside its tensors: alphas, patterns, switches.

peft writes `adapter_config.json` beside the tensors; diffusers writes the same fields, as JSON, into the header's
`lora_adapter_metadata`, each behind the component's name: "unet.lora_alpha".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.errors import NetworkError
from app.networks.prefixes import components_of
from app.networks.reading import Settings

CONFIG = "adapter_config.json"
HEADER_FIELD = "lora_adapter_metadata"
_COMPONENTS = ("unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")
_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Configuration:
    """The fields, by component; "" is for modules of any component."""

    fields: Mapping[str, Mapping[str, object]]

    def module(self, name: str) -> Settings:
        """What the fields say of one module of the file."""
        if not self.fields:
            return Settings()
        components, inner = components_of(name)
        own = next((self.fields[component] for component in (*components[:1], "") if component in self.fields), {})
        kind = str(own.get("peft_type", "LORA")).upper()
        alpha = own.get("lora_alpha") if kind == "LORA" else own.get("alpha")
        alpha = _of_pattern(own.get("alpha_pattern"), inner, alpha)
        return Settings(
            alpha=float(alpha) if isinstance(alpha, int | float) and not isinstance(alpha, bool) else None,
            rank_stabilised=own.get("use_rslora") is True,
            feedforward=_listed(own.get("feedforward_modules"), inner),
            exact_cayley=kind == "OFT" and own.get("use_cayley_neumann") is False,
            folded=kind == "LOKR",
        )


def configuration(path: Path, metadata: Mapping[str, str]) -> Configuration:
    """The configuration of a file: of its header, or of the JSON beside an `adapter_model` file.

    Raises:
        NetworkError: the configuration is there, and is no JSON object.
    """
    if HEADER_FIELD in metadata:
        return Configuration(_by_component(_object(metadata[HEADER_FIELD], path)))
    beside = path.with_name(CONFIG)
    if path.stem == "adapter_model" and beside.is_file():
        try:
            if beside.stat().st_size > _LIMIT:
                raise NetworkError("It is too large to be a configuration.", where=str(beside))
            text = beside.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NetworkError(f"It cannot be read ({error}).", where=str(beside)) from error
        return Configuration({"": _object(text, beside)})
    return Configuration(MappingProxyType({}))


def _object(text: str, path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetworkError(
            f"Its adapter configuration is not JSON ({type(error).__name__}).", where=str(path)
        ) from error
    if not isinstance(value, dict):
        raise NetworkError("Its adapter configuration is not a JSON object.", where=str(path))
    return value


def _by_component(fields: Mapping[str, object]) -> dict[str, dict[str, object]]:
    split: dict[str, dict[str, object]] = {}
    for key, value in fields.items():
        component, _, name = key.partition(".")
        known = component in _COMPONENTS and name
        split.setdefault(component if known else "", {})[name if known else key] = value
    return split


def _of_pattern(patterns: object, module: str, default: object) -> object:
    """peft's rule: the first pattern that ends the module's name. Patterns are read as names, not run as regexes."""
    if not isinstance(patterns, dict):
        return default
    for pattern, value in patterns.items():
        name = re.sub(r"\\(.)", r"\1", pattern)
        exact = name.startswith("^")
        name = name.removeprefix("^").removesuffix("$")
        if module == name or (not exact and module.endswith(f".{name}")):
            return value
    return default


def _listed(names: object, module: str) -> bool | None:
    """Whether a list of names holds the module; None where there is no list."""
    if not isinstance(names, list):
        return None
    return any(isinstance(name, str) and (module == name or module.endswith(f".{name}")) for name in names)
