"""What trainers keep of an adapter outside its tensors: alphas, patterns, switches.

peft writes `adapter_config.json` beside the tensors; diffusers writes the same fields, as JSON, into the header's
`lora_adapter_metadata`, each behind the component's name: "unet.lora_alpha". LyCORIS' arguments stand in
`ss_network_args`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.errors import NetworkError
from app.networks.parts import Settings
from app.networks.prefixes import components_of

CONFIG = "adapter_config.json"
HEADER_FIELD = "lora_adapter_metadata"
ARGUMENTS_FIELD = "ss_network_args"
_COMPONENTS = ("unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")
_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Configuration:
    """The fields, by component; "" is for modules of any component. `trained` is what LyCORIS said in the header."""

    fields: Mapping[str, Mapping[str, object]]
    trained: Settings = Settings()  # noqa: RUF009 - frozen

    def module(self, name: str) -> Settings:
        """What the fields say of one module of the file."""
        if not self.fields:
            return self.trained
        components, inner = components_of(name)
        own = next((self.fields[component] for component in (*components[:1], "") if component in self.fields), {})
        kind = str(own.get("peft_type", "LORA")).upper()
        alpha = _of_pattern(own.get("alpha_pattern"), inner, own.get("lora_alpha" if kind == "LORA" else "alpha"))
        rank = _of_pattern(own.get("rank_pattern"), inner, own.get("r"))
        terms = own.get("num_cayley_neumann_terms", 5) if own.get("use_cayley_neumann") is not False else 0
        return Settings(
            alpha=_number(alpha),
            rank=int(_number(rank) or 0) or None,
            rank_stabilised=own.get("use_rslora") is True,
            feedforward=_listed(own.get("feedforward_modules"), inner),
            neumann_terms=min(int(_number(terms) or 0), 64),
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
    return Configuration(MappingProxyType({}), _trained(metadata))


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
    """peft's rule: the first pattern that ends the module's name, at a dot. Patterns are names here, not regexes."""
    if not isinstance(patterns, dict):
        return default
    for pattern, value in patterns.items():
        name = pattern.replace("\\", "")
        whole = name.startswith("^")
        name = name.removeprefix("^").removesuffix("$")
        if module == name or (not whole and module.endswith(f".{name}")):
            return value
    return default


def _number(value: object) -> float | None:
    """A finite number, or None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
    return float(value) if usable and isinstance(value, int | float) else None


def _listed(names: object, module: str) -> bool | None:
    """Whether a list of names holds the module; None where there is no list."""
    if not isinstance(names, list):
        return None
    return any(isinstance(name, str) and (module == name or module.endswith(f".{name}")) for name in names)


def _trained(metadata: Mapping[str, str]) -> Settings:
    """LyCORIS' own arguments, of which only these are not in the tensors: rs_lora (GLoRA), sig_type (T-LoRA)."""
    text = metadata.get(ARGUMENTS_FIELD, "")
    try:
        arguments = json.loads(text) if text else {}
    except (ValueError, RecursionError):  # of use for these two alone, so no reason to refuse the file
        return Settings()
    if not isinstance(arguments, dict):
        return Settings()
    triplets = arguments.get("sig_type")
    return Settings(
        glora_rank_stabilised=str(arguments.get("rs_lora")) == "True",
        triplets=triplets if triplets in ("principal", "middle", "last") else "principal",
    )
