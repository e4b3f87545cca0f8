"""The model that goes with moving faces: too large for the package, so a script makes it and puts it into the user's
cache, where its name is enough."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ... import models
from ...errors import UsageError
from ...utils.files import write_atomically

NAME = "moving-faces"
SCRIPT = "scripts/make_faces_model.py"
ABOUT = "drawn people, by their faces (moving_faces)"
CLIP, FACES = "clip", "faces.safetensors"  # in the run's folder, where `pretrain_towers` and `pretrain_encoder` end


def install(run: Path, trained: Path, folder: Path) -> None:
    """Put a trained CLIP-PAD, its towers and its face encoder together in one folder; one that lies there is replaced.

    Args:
        run: has the checkpoint `clip`, and `faces.safetensors`.
        trained: the model folder that training wrote.
        folder: of the whole model; nothing else is in it.

    Raises:
        UsageError: `folder` holds something that is no model.
    """
    if folder.exists() and not models.settings_file(folder):
        raise UsageError(f"{folder}: not a model; take it away, or name another folder")
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(trained, draft)
    shutil.copytree(run / CLIP, draft / CLIP)
    shutil.copyfile(run / FACES, draft / FACES)
    settings = models.read(draft).as_dict() | {"about": ABOUT}
    settings["options"]["checkpoint"] = CLIP
    settings["options"]["faces"]["weights"] = str((folder / FACES).absolute())
    write_atomically(draft / models.SETTINGS, json.dumps(settings, indent=1).encode())
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)
