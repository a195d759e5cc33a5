"""The first job and the first forecast may begin at once: each imports what it needs, in a thread of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from safetensors.torch import save_file
from torch import zeros

from tests.diffusion import original

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, threading, time
from pathlib import Path
from app.engine.forecast import Forecasts
from app.engine.library import Library
from app.settings import SettingsStore

data, models = map(Path, sys.argv[1:])
inside, met = threading.Event(), threading.Event()

def meeting(event, told):
    '''Keeps the forecast within its import of diffusers until the engine is about to take a name from it.'''
    if event != "import":
        return
    thread = threading.current_thread().name
    if thread == "forecast" and told[0] == "diffusers.utils" and not inside.is_set():
        inside.set()
        met.wait(3)
        time.sleep(0.3)
    if thread == "engine" and told[0] == "app.diffusion.noise":
        met.set()

def engine():
    inside.wait(120)
    from app.engine.generator import StudioGenerator
    print("engine", StudioGenerator.__name__)

sys.addaudithook(meeting)
library = Library.of(SettingsStore(data, {"paths.models": models}).folders)
forecasts = Forecasts(library, lambda: "native")
file, model = library.networks.find("ink"), library.checkpoints.find("one")
thread = threading.Thread(target=engine, name="engine")
thread.start()
while (answer := forecasts.of(model, "lora", file)) is None:
    time.sleep(0.01)
thread.join()
print("forecast", type(answer).__name__)
"""


def test_two_threads_that_import_for_the_first_time_do_not_trip_over_one_another(tmp_path: Path) -> None:
    for folder in ("checkpoints", "loras"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    original.write(original.reduced("sd15"), tmp_path / "models" / "checkpoints" / "one.safetensors")
    save_file({"lora_unet_nowhere.lora_down.weight": zeros(2, 2)}, tmp_path / "models" / "loras" / "ink.safetensors")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(tmp_path / "models")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split("\n")[:2]) == ["engine StudioGenerator", "forecast Forecast"], done.stderr
