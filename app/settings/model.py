"""The settings: every key, its type, its bounds, and the words that the Settings tab shows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class Section(BaseModel):
    """Some settings that belong together: one page of the Settings tab, one table of the file."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class GenerationSettings(Section):
    """What a new form holds."""

    # The names are a GenerationRequest's.
    prompt: str = Field("", title="Prompt")
    negative_prompt: str = Field("", title="Negative prompt")
    seed: int = Field(-1, ge=-1, lt=2**32, title="Seed", description="-1 draws a new one each time.")
    steps: int = Field(20, ge=1, le=1000, title="Steps")
    sampler: str = Field("Euler a", title="Sampler")
    schedule_type: str = Field("Automatic", title="Schedule type")
    cfg_scale: float = Field(7.0, ge=0, le=100, title="CFG scale", description="How closely the prompt is followed.")
    width: int = Field(512, ge=16, le=8192, multiple_of=8, title="Width", description="In pixels.")
    height: int = Field(512, ge=16, le=8192, multiple_of=8, title="Height", description="In pixels.")
    batch_count: int = Field(1, ge=1, le=1000, title="Batch count", description="Batches, one after the other.")
    batch_size: int = Field(1, ge=1, le=64, title="Batch size", description="Images made at once.")
    clip_skip: int = Field(1, ge=1, le=12, title="Clip skip", description="1 uses the text encoder's last layer.")
    checkpoint: str = Field("", title="Checkpoint", description="Empty: the first one found.")
    vae: str = Field("Automatic", title="VAE", description="Automatic: the checkpoint's own.")
    emphasis: Literal["None", "Ignore", "Original", "No norm"] = Field(
        "Original", title="Emphasis", description="How (word:1.2) acts: as text, not at all, or with or without norm."
    )
    hires_scale: float = Field(1.0, ge=1, le=8, title="Hires scale", description="Of a second pass; 1: none.")
    hires_steps: int = Field(0, ge=0, le=1000, title="Hires steps", description="0: as many as the first pass.")
    hires_upscaler: str = Field("Latent", title="Hires upscaler")
    denoising_strength: float = Field(
        0.75, ge=0, le=1, title="Denoising strength", description="How much of a larger or given picture is made anew."
    )


class NetworkSettings(Section):
    """LoRAs and their relatives."""

    default_strength: float = Field(
        1.0, ge=-10, le=10, title="Default strength", description="Of a tag without a number, and of a card's click."
    )
    schedule_separator: Literal["switch", "ramp"] = Field(
        "switch", title="A comma in a schedule", description="Holds each value until the next, or ramps towards it."
    )
    missing_network: Literal["refuse", "warn"] = Field(
        "refuse", title="A missing network", description="Refuse to generate, or go on without it and say so."
    )
    auto_apply: Literal["off", "first", "all"] = Field(
        "off", title="Apply trigger words", description="Add a network's trigger words to the prompt that is encoded."
    )
    auto_apply_count: int = Field(3, ge=1, le=100, title="Trigger words applied", description="With 'first': how many.")
    auto_apply_place: Literal["end", "start"] = Field(
        "end", title="Trigger words go", description="Unless the prompt says where, with _tags_."
    )
    loader: Literal["native", "diffusers"] = Field(
        "native", title="Loader", description="diffusers: its own LoRA loader, for files that only it can read."
    )
    memory_mode: Literal["auto", "device", "pinned", "forward"] = Field(
        "auto",
        title="Where untouched weights wait",
        description="On the device, in pinned memory, or nowhere (added on each forward pass).",
    )
    memory_budget: int | None = Field(
        None, ge=0, title="Memory budget", description="Megabytes on the device for networks; empty: what is free."
    )
    extra_folders: tuple[Path, ...] = Field((), title="Extra folders", description="More folders with networks.")
    card_size: int = Field(160, ge=80, le=480, title="Card size", description="In pixels.")
    show_other_bases: bool = Field(True, title="Show networks of other base models", description="Dimmed.")
    names: Literal["file", "alias"] = Field(
        "file", title="Names", description="Cards and tags use the file's name, or the one in its metadata."
    )


class DeviceSettings(Section):
    """What computes, and in which precision."""

    device: str = Field("auto", pattern=r"^(auto|(cpu|cuda|mps|xpu)(:\d+)?)$", title="Device")
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = Field("auto", title="Precision")
    attention: Literal["auto", "pytorch", "xformers"] = Field("auto", title="Attention")
    offload: Literal["auto", "none", "model"] = Field(
        "auto", title="Offload", description="model: parts of it are on the device only while they work."
    )
    vae_tiling: bool = Field(
        False,
        title="VAE tiling",
        description="Always decode in tiles; otherwise only once memory has run out.",
    )


class PathSettings(Section):
    """Where files lie. Relative paths count from the data folder."""

    models: Path = Field(CHECKOUT / "models", title="Models")
    outputs: Path = Field(Path("outputs"), title="Images")
    extra_checkpoints: tuple[Path, ...] = Field((), title="Extra checkpoint folders")
    extra_vaes: tuple[Path, ...] = Field((), title="Extra VAE folders")
    extra_embeddings: tuple[Path, ...] = Field((), title="Extra embedding folders")


class PreviewSettings(Section):
    """The picture that is shown while it is made."""

    every: int = Field(1, ge=0, le=1000, title="Preview every", description="Steps between previews; 0: none.")


class ServerSettings(Section):
    """Who can reach the studio. Changes act at the next start."""

    host: str = Field("127.0.0.1", title="Address", description="0.0.0.0 lets your network in: use --auth with it.")
    port: int = Field(7860, ge=1, le=65535, title="Port")
    open_browser: bool = Field(True, title="Open the browser")
    hosts: tuple[str, ...] = Field((), title="Host names", description="More names this server is reached by.")
    origins: tuple[str, ...] = Field(
        (), title="Allowed origins", description="Other sites whose pages may call the API, as https://example.org."
    )


class Settings(BaseSettings):
    """All settings; `settings.networks.loader` is the key "networks.loader"."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix="PATCHBAY_", env_nested_delimiter="__", protected_namespaces=()
    )

    generation: GenerationSettings = Field(GenerationSettings(), title="Generation")
    networks: NetworkSettings = Field(NetworkSettings(), title="Networks")
    device: DeviceSettings = Field(DeviceSettings(), title="Device")
    previews: PreviewSettings = Field(PreviewSettings(), title="Previews")
    paths: PathSettings = Field(PathSettings(), title="Paths")
    server: ServerSettings = Field(ServerSettings(), title="Server")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_args: PydanticBaseSettingsSource,
        **_sources: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: the store merges the sources, to know which keys are pinned."""
        return (init_settings,)
