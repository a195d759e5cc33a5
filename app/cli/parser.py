"""The command line: its commands and their options. Nothing heavy is imported to read it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app import __version__

if TYPE_CHECKING:
    from app.settings import SettingsStore

Run = Callable[[argparse.Namespace], int]
PINS = {
    "models": "paths.models",
    "device": "device.device",
    "dtype": "device.dtype",
    "host": "server.host",
    "port": "server.port",
    "open_browser": "server.open_browser",
}
"""Options that decide a setting for this run."""


def command_line(serve: Run) -> argparse.ArgumentParser:
    """The parser; a parsed command has `run`, which takes it and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="webui.py",
        description="A browser studio for Stable Diffusion with LoRA prompt syntax.",
        epilog="Before the command, webui.py itself takes --no-venv, --torch cpu|cuda|rocm and --xformers.",
    )
    parser.add_argument("--version", action="version", version=f"Patchbay {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands, serve)
    _add_generate(commands)
    _add_explain(commands)
    _add_networks(commands)
    _add_bake(commands)
    _add_extract(commands)
    _add_bench(commands)
    test = commands.add_parser("test", help="run the project's tests; pytest's options follow", add_help=False)
    test.set_defaults(run=_test)
    return parser


def read(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What `arguments` ask for. No command, or an option first, means `serve`; what follows `test` is pytest's."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "serve")
    if words[0] == "test":
        chosen = parser.parse_args(["test"])
        chosen.pytest = words[1:]
        return chosen
    return parser.parse_args(words)


def settings_of(arguments: argparse.Namespace) -> SettingsStore:
    """The settings, with what the command line says pinned."""
    from app.settings import SettingsStore

    pins = {key: getattr(arguments, option, None) for option, key in PINS.items()}
    return SettingsStore(arguments.data, {key: value for key, value in pins.items() if value is not None})


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, as 512x768")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _account(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("it is USER:PASS, both of them")
    return text


Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=_folder, metavar="DIR", help="the models folder")
    parser.add_argument("--data", type=_folder, metavar="DIR", help="the data folder: settings, images (PATCHBAY_DATA)")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--dtype", help="auto, fp32, fp16, bf16")


def _add_serve(commands: Commands[argparse.ArgumentParser], serve: Run) -> None:
    parser = commands.add_parser("serve", help="the studio and the HTTP API (what happens without a command)")
    _add_common(parser)
    parser.add_argument("--host", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port (7860, or the next free one)")
    parser.add_argument("--auth", type=_account, metavar="USER:PASS", help="ask for this name (PATCHBAY_AUTH)")
    parser.add_argument("--share", action="store_true", help="also open a public address; only with --auth")
    parser.add_argument("--no-browser", action="store_const", const=False, dest="open_browser", default=None)
    parser.set_defaults(run=serve)


def _add_generate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("generate", help="make images from a prompt")
    _add_common(parser)
    parser.add_argument("prompt")
    parser.add_argument("--negative", dest="negative_prompt")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampler")
    parser.add_argument("--schedule-type")
    parser.add_argument("--cfg", type=float, dest="cfg_scale")
    parser.add_argument("--size", type=_size, metavar="WxH")
    parser.add_argument("--batch", type=int, dest="batch_size", help="images made at once, with seeds that count up")
    parser.add_argument("--clip-skip", type=int)
    parser.add_argument("--model", dest="checkpoint")
    parser.add_argument("--vae")
    parser.add_argument("--init", type=_folder, metavar="FILE", help="a picture to begin with")
    parser.add_argument("--denoising", "--hires-denoising", type=float, dest="denoising_strength", metavar="0..1",
                        help="how much of that picture, or of the enlarged one, is made anew")  # fmt: skip
    parser.add_argument("--hires-scale", type=float, metavar="X", help="a second pass, over a picture X times as large")
    parser.add_argument("--hires-steps", type=int, metavar="N", help="of the second pass; 0: as many as the first")
    parser.add_argument("--hires-upscaler", metavar="NAME", help="Latent, Latent (nearest-exact), Lanczos, ...")
    parser.add_argument(
        "--x", metavar="NAME=VALUES", help="a grid: what changes from column to column, as strength=0,0.5,1"
    )
    parser.add_argument("--y", metavar="NAME=VALUES", help="what changes from row to row, as 'prompt=a cat,a dog'")
    parser.add_argument("--out", type=_folder, metavar="FILE", help="a PNG; several are numbered")
    parser.add_argument("--json", action="store_true", help="seeds, files and timings on standard output")
    parser.set_defaults(run=_generate)


def _add_explain(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explain", help="what a prompt means, step by step, without a model")
    parser.add_argument("prompt", nargs="?")
    parser.add_argument("--negative", default="")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", metavar="FILE", help="a prompt per line, as JSON or text; - reads standard input")
    parser.add_argument("--data", type=_folder, metavar="DIR", help="the data folder, for the settings")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_explain)


def _add_networks(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("networks", help="the library of networks, or one of its files")
    actions = parser.add_subparsers(dest="action", metavar="list|show|check", required=True)
    listing = actions.add_parser("list", help="every network in the library")
    listing.add_argument("--hash", action="store_true", help="read every file to its end, for the hashes not yet known")
    showing = actions.add_parser("show", help="all that can be told of one file")
    showing.add_argument("file", metavar="FILE", help="a path, or a name as tags write it")
    checking = actions.add_parser("check", help="what of one file has a place on a model")
    checking.add_argument("file", metavar="FILE", help="a path, or a name as tags write it")
    checking.add_argument("--model", required=True, metavar="M", help="a checkpoint's path, or its name")
    for action in (listing, showing, checking):
        action.add_argument("--dir", type=_folder, metavar="DIR", help="this folder instead of the configured ones")
        action.add_argument("--kind", choices=("lora", "embedding", "hypernetwork"), default="lora")
        action.add_argument("--models", type=_folder, metavar="DIR", help="the models folder")
        action.add_argument("--data", type=_folder, metavar="DIR", help="the data folder, for settings and the index")
        action.add_argument("--json", action="store_true")
        action.set_defaults(run=_networks)


def _add_bake(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bake", help="write a model with its networks merged into it; prints JSON")
    parser.add_argument("--model", metavar="PATH", help="a diffusers folder, a checkpoint file, or a checkpoint's name")
    parser.add_argument("--prompt", metavar="TAGS", help="the networks, as <lora:ink:0.8>")
    parser.add_argument("--out", type=_folder, metavar="DIR", help="a new folder, an empty one, or a baked model")
    parser.add_argument("--networks", type=_folder, metavar="DIR", help="the networks' folder")
    parser.add_argument("--step", type=int, metavar="N", help="of a schedule, the strengths of this step (1)")
    parser.add_argument("--steps", type=int, metavar="M", help="how many steps a schedule runs over")
    parser.add_argument("--dtype", choices=("fp16", "bf16", "fp32"), help="of the weights; else as they are stored")
    parser.add_argument("--batch", metavar="FILE", help="a JSON list of jobs, each with the options' names; - is stdin")
    parser.add_argument("--models", type=_folder, metavar="DIR", help="the models folder")
    parser.add_argument("--data", type=_folder, metavar="DIR", help="the data folder, for settings and the index")
    parser.add_argument("--json", action="store_true", help="it always prints JSON")
    parser.set_defaults(run=_bake)


def _add_extract(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("extract", help="write several networks as one LoRA file")
    parser.add_argument("tags", metavar="TAGS", help="the networks, as '<lora:ink:0.8> <lora:gold:0.5>'")
    parser.add_argument(
        "--model", required=True, metavar="PATH", help="a diffusers folder, a checkpoint file, or its name"
    )
    parser.add_argument("--out", type=_folder, required=True, metavar="FILE", help="a .safetensors file")
    parser.add_argument("--rank", type=_count, default=0, metavar="R", help="at most; 0: as many as it takes (0)")
    parser.add_argument("--dtype", choices=("fp16", "bf16", "fp32"), default="fp32", help="of the file (fp32)")
    parser.add_argument("--networks", type=_folder, metavar="DIR", help="the networks' folder")
    parser.add_argument("--models", type=_folder, metavar="DIR", help="the models folder")
    parser.add_argument("--data", type=_folder, metavar="DIR", help="the data folder, for settings and the index")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_extract)


def _add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="the performance figures, as ratios")
    _add_common(parser)
    parser.add_argument("--model", dest="checkpoint", default="")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_bench)


def _generate(arguments: argparse.Namespace) -> int:
    from app.cli.generate import generate

    return generate(arguments, settings_of(arguments))


def _explain(arguments: argparse.Namespace) -> int:
    from app.cli.explain import explain

    return explain(arguments, settings_of(arguments))


def _networks(arguments: argparse.Namespace) -> int:
    from app.cli.networks import networks

    return networks(arguments, settings_of(arguments))


def _bake(arguments: argparse.Namespace) -> int:
    from app.cli.bake import bake

    return bake(arguments, settings_of(arguments))


def _extract(arguments: argparse.Namespace) -> int:
    from app.cli.extract import extract

    return extract(arguments, settings_of(arguments))


def _bench(arguments: argparse.Namespace) -> int:
    from app.cli.bench import bench

    return bench(arguments, settings_of(arguments))


def _test(arguments: argparse.Namespace) -> int:
    from app.cli.test import test

    return test(arguments.pytest)
