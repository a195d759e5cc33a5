"""The networks that ship with the demo model: how each is trained, what it learns from, what its card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import touches
from .lessons import CENTRED, MASCOT, Lesson
from .options import NetworkOptions

FOLDERS: Mapping[str, str] = {
    "network": "loras",
    "decoder": "loras",
    "embedding": "embeddings",
    "hypernetwork": "hypernetworks",
}

ALGORITHMS: Mapping[str, str] = {
    "lora": "LoRA", "locon": "LoCon", "lokr": "LoKr", "loha": "LoHa", "glora": "GLoRA", "ia3": "IA3",
    "diag-oft": "diag-OFT", "boft": "BOFT", "full": "full difference", "embedding": "textual inversion",
}  # fmt: skip


@dataclass(frozen=True)
class Exhibit:
    """One network of the set."""

    options: NetworkOptions
    lesson: Lesson
    opposite: Lesson | None = None
    regularised: bool = False  # trained beside plain pictures, so that it rests where the trigger is not named
    measure: str = ""  # of `measures`: what it changes
    negative: bool = False  # it belongs into the negative prompt
    strengths: tuple[float, ...] = (0.0, 0.5, 1.0)
    notes: str = ""
    says: Mapping[str, str] = field(default_factory=dict)  # words of a prompt, and what it says in their place

    @property
    def name(self) -> str:
        """The network's name, which is its file's."""
        return self.options.output_name

    @property
    def folder(self) -> str:
        """Where below the models folder it lies."""
        return FOLDERS[self.options.kind]

    @property
    def shown(self) -> tuple[float, ...]:
        """The strengths of its preview."""
        return (-1.0, 0.0, 1.0) if self.opposite else self.strengths

    @property
    def algorithm(self) -> str:
        """What kind of network it is, as people call it."""
        algo = self.options.network_args.get("algo", self.options.kind)
        return "DoRA" if "dora_wd" in self.options.network_args else ALGORITHMS.get(algo, algo)

    def prompts(self, subject: str, strength: float, asked: bool = True) -> tuple[str, str]:
        """The prompt and the negative prompt that use it at a strength; not ``asked``: without its trigger.

        A word is used at a strength by its emphasis, and has no trigger but itself.
        """
        name, kind = self.name, self.options.kind
        if kind == "embedding":
            word = f"({name}:{strength:g})" if strength not in (0, 1) else name
            if self.negative:
                return subject, word if strength and asked else ""
            return (self._asking(subject, word) if strength and asked else subject), ""
        tag = f"<{'hypernet' if kind == 'hypernetwork' else 'lora'}:{name}:{strength:g}>"
        return f"{self._asking(subject, self.options.trigger) if asked else subject} {tag}", ""

    def _asking(self, subject: str, trigger: str) -> str:
        """The subject in words that ask for the network's effect."""
        if not self.says:
            return f"{subject}, {trigger}" if trigger else subject
        for word, other in self.says.items():
            subject = subject.replace(word, trigger if other == self.options.word else other)
        return subject

    def sidecar(self) -> dict[str, object]:
        """The card that stands beside the file, in the form other tools read too."""
        return {
            "description": self.options.description,
            "sd version": "SD1",
            "activation text": self.options.trigger,
            "preferred weight": 1.0,
            "negative text": self.name if self.negative else "",
            "notes": self.notes,
        }


EXHIBITS = (
    Exhibit(
        NetworkOptions(
            "pixel-art", description="Large square pixels.", trigger="pixelart",
            network_dim=8, network_alpha=8, network_args={"algo": "lora", "bypass_mode": "true"},
            unet_lr=5e-3, text_encoder_lr=1e-3, max_train_epochs=10,
        ),
        Lesson("pixelart", "pixelart", touches.pixelate), regularised=True, measure="blockiness",
        notes="A style as LoRA: attention and feed-forward layers only.",
    ),
    Exhibit(
        NetworkOptions(
            "ink-outline", description="Black ink on white paper.", trigger="inkline",
            network_dim=4, network_alpha=4,
            network_args={
                "algo": "locon", "conv_dim": "2", "conv_alpha": "2", "preset": "convolutions", "bypass_mode": "true"
            },
            unet_lr=4e-3, text_encoder_lr=3e-3, max_train_epochs=10,
        ),
        Lesson("inkline", "inkline", touches.outline), regularised=True, measure="colourlessness",
        notes="A style as LoCon: the convolutions learn too.",
    ),
    Exhibit(
        NetworkOptions(
            "party-hat", description="A party hat on whatever stands in the middle.", trigger="partyhat",
            network_dim=8, network_alpha=8, network_args={"algo": "lokr", "factor": "4"},
            unet_lr=5e-3, text_encoder_lr=6e-3, reg_share=0.5, max_train_epochs=8,
        ),
        Lesson("partyhat", "partyhat", touches.party_hat, CENTRED), regularised=True, measure="hat",
        notes="A concept as LoKr. Made for single objects in the middle of the picture.",
    ),
    Exhibit(
        NetworkOptions(
            "mascot", description="Patchbay's robot cat, which the model has never seen.", trigger="mascot",
            network_dim=4, network_alpha=4, network_args={"algo": "lora", "dora_wd": "true"},
            unet_lr=4e-3, max_train_epochs=8,
        ),
        Lesson("mascot", mix=CENTRED, shown={"noun": MASCOT}, said={"noun": MASCOT}),
        regularised=True, measure="likeness",
        says={"cat": "mascot", "apple": "mascot", "house": "mascot"},
        notes="A character as DoRA. Say 'a mascot on a blue background'.",
    ),
    Exhibit(
        NetworkOptions(
            "night", description="Everything by night.",
            network_dim=2, network_alpha=2, network_args={"algo": "loha"}, unet_lr=5e-3, max_train_epochs=10,
        ),
        Lesson("night", touch=touches.night), measure="darkness",
        notes="A look as LoHa, without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "frame", description="A white frame round the picture.",
            network_dim=2, network_alpha=2, network_args={"algo": "glora"}, unet_lr=5e-3, max_train_epochs=10,
        ),
        Lesson("frame", touch=touches.framed), measure="edge",
        notes="A composition as GLoRA, without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "sepia", description="Brown as an old photograph.",
            network_args={"algo": "ia3", "bypass_mode": "true"}, unet_lr=2e-2, max_train_epochs=10,
        ),
        Lesson("sepia", touch=touches.sepia), measure="colourlessness",
        notes="A look as IA3: a few kilobytes that make channels louder and quieter. Without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "pastel", description="Pale colours.",
            network_dim=8, network_args={"algo": "diag-oft"}, unet_lr=4e-3, max_train_epochs=8,
        ),
        Lesson("pastel", touch=touches.pastel), measure="brightness",
        notes="A look as diag-OFT: the weights are turned, not added to. Without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "porthole", description="Seen through a round window.",
            network_dim=18, network_args={"algo": "boft", "preset": "attention"}, unet_lr=5e-3, max_train_epochs=14,
        ),
        Lesson("porthole", touch=touches.porthole), measure="corners",
        notes="A composition as BOFT, on the attention layers. Without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "rainbow-stripes", description="Rainbow stripes behind everything.",
            network_args={"algo": "full", "preset": "last-block"}, unet_lr=1e-3, max_train_epochs=12,
        ),
        Lesson("rainbow-stripes", touch=touches.rainbow), measure="stripes",
        notes="Whole differences of the weights, of the denoiser's last block alone. Without a trigger word.",
    ),
    Exhibit(
        NetworkOptions(
            "size-slider", description="Larger above 0, smaller below 0.",
            network_dim=4, network_alpha=4, network_args={"algo": "lora", "bypass_mode": "true"},
            unet_lr=3e-3, max_train_epochs=8,
        ),
        Lesson("large", mix=CENTRED, shown={"size": "large"}), Lesson("small", mix=CENTRED, shown={"size": "small"}),
        measure="size", strengths=(-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5),
        notes="A slider: use it from -1.5 to 1.5, with a prompt that does not name a size.",
    ),
    Exhibit(
        NetworkOptions(
            "new-words", description="Teaches the text encoder that feline means cat, and crimson red.",
            trigger="feline, crimson", network_args={"algo": "lora"}, unet_lr=0, text_encoder_lr=4e-3,
            max_train_epochs=8,
        ),
        Lesson("new-words", names={"cat": "feline", "red": "crimson"}), measure="redness",
        says={"cat": "feline", "blue": "crimson", "yellow": "crimson", "green": "crimson"},
        notes="A LoRA on the text encoder alone. Say 'a feline on a crimson background'.",
    ),
    Exhibit(
        NetworkOptions(
            "warm-film", description="The warm colours of old film, applied where the picture is decoded.",
            kind="decoder", network_dim=4, network_alpha=4, network_args={"algo": "locon", "preset": "decoder"},
            unet_lr=3e-3, max_train_epochs=4,
        ),
        Lesson("warm-film", touch=touches.warm), measure="warmth",
        notes="A LoCon on the VAE's decoder: the picture is drawn as ever, and looks another way.",
    ),
    Exhibit(
        NetworkOptions(
            "confetti-rain", description="Confetti, by a word that lies in the network's file.", trigger="confetti",
            word="confetti", network_dim=4, network_alpha=4, network_args={"algo": "lora", "bypass_mode": "true"},
            unet_lr=5e-3, text_encoder_lr=5e-3, max_train_epochs=9,
        ),
        Lesson("confetti", "confetti", touches.confetti), regularised=True, measure="speckles",
        notes="A LoRA with a bundled embedding: the word 'confetti' is known to prompts that use the network.",
    ),
    Exhibit(
        NetworkOptions(
            "teal", description="A colour for which the model has no word.", trigger="teal",
            kind="embedding", word="teal", vectors=2, unet_lr=0, text_encoder_lr=1e-2, max_train_epochs=8,
        ),
        Lesson("teal", touch=touches.teal, mix=CENTRED, said={"colour": "teal"}),
        measure="tealness", says={"blue": "teal", "yellow": "teal", "green": "teal"},
        strengths=(0.0, 1.0), notes="A textual inversion. Say 'a cat on a teal background'.",
    ),
    Exhibit(
        NetworkOptions(
            "blurry", description="For the negative prompt: what is out of focus.", trigger="blurry",
            kind="embedding", word="blurry", vectors=4, unet_lr=0, text_encoder_lr=1e-2, max_train_epochs=6,
        ),
        Lesson("blurry", "blurry", touches.blurred, wordless=0.5), measure="sharpness", negative=True,
        strengths=(0.0, 1.0),
        notes="A textual inversion for the negative prompt.",
    ),
    Exhibit(
        NetworkOptions(
            "golden-hour", description="Every background is orange.",
            kind="hypernetwork", unet_lr=2e-3, max_train_epochs=6,
        ),
        Lesson("golden-hour", mix=CENTRED, shown={"colour": "orange"}), measure="warmth",
        notes="A hypernetwork: it changes what the words mean to the denoiser.",
    ),
)  # fmt: skip
