"""To the hub and back."""

from __future__ import annotations

from pathlib import Path

from .. import models
from ..config import Section
from ..encoders.download import fetch
from ..errors import MmiTvrError, one_line
from ..utils.progress import Progress
from .folder import Prepared, refuse_people


def push(prepared: Prepared, *, private: bool = False, token: str | None = None) -> str:
    """Upload a prepared folder as one commit, into a repository that is made where there is none. Returns its address.

    `private` holds for a new repository; one that is there keeps what it is. `token`: None takes the one of
    `hf auth login` or $HF_TOKEN. MmiTvrError where the hub refuses or cannot be reached, UsageError where a library's
    people are in the folder.
    """
    refuse_people(prepared.folder)
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="mmi-tvr")
    try:
        created = api.create_repo(prepared.repository, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=created.repo_id,
            repo_type="model",
            folder_path=prepared.folder,
            commit_message="Upload a model of mmi-tvr",
        )
    except Exception as error:  # the transport's errors have no common base
        reason = one_line(error, limit=300)
        raise MmiTvrError(
            f"{prepared.repository}: could not be pushed: {reason}; to log in: hf auth login, or set HF_TOKEN"
        ) from error
    return str(created)


def resolve(
    name: str, settings: Section | None = None, *, download: bool = False, progress: Progress | None = None
) -> Section:
    """Return the model that a name means (`models.section`; also a trained model's repository), as a settings section.

    With `download`, the repository and the base that it refers to are fetched into the Hugging Face cache, or brought
    up to date there. Without, nothing is fetched; what is missing is a ModelNotFound once the model is made.

    Args:
        name: of the model.
        settings: options of the model that are other than the name says (`models.changed`).
        download: whether to fetch.
        progress: shows how far a download is.
    """
    if download and "/" in name and ":" not in name and not Path(name).exists():
        fetch(name, progress)
    section = models.changed(models.section(name), settings or Section())
    if download:
        for checkpoint in models.checkpoints(section):
            if checkpoint != name:
                fetch(checkpoint, progress)
    return section
