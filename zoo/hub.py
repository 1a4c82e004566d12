"""Files of the Hugging Face hub; the only file that imports huggingface_hub.

They stay in the hub's own cache ($HF_HOME), which other libraries share.
"""

import os
import re
from pathlib import Path

# For zoo/push.py.
from huggingface_hub import EvalResult as EvalResult
from huggingface_hub import HfApi as HfApi
from huggingface_hub import ModelCardData as ModelCardData
from huggingface_hub import snapshot_download as snapshot_download

from zoo.card import Source
from zoo.download import DownloadError


def cached_hub_file(source: Source) -> Path | None:
    """The file if the hub's cache has it, without a look at the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.hf_repo, source.hf_file, revision=source.hf_revision)
    return Path(found) if isinstance(found, str) else None


def hub_file(source: Source) -> Path:
    """Download a file of the hub, or find it in the hub's cache.

    Raises:
        DownloadError: saying what to do about it.
    """
    from huggingface_hub import errors, hf_hub_download

    repo, file, revision = source.hf_repo, source.hf_file, source.hf_revision
    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except errors.GatedRepoError:
        page = f"https://huggingface.co/{repo}"
        raise DownloadError(f"the repository is gated: accept its terms at {page} and run `hf auth login`") from None
    except errors.RevisionNotFoundError:
        raise DownloadError(f"the repository has no revision {revision!r}") from None
    except errors.RepositoryNotFoundError:
        raise DownloadError("no such repository, or it is private: run `hf auth login`") from None
    except errors.LocalEntryNotFoundError as error:
        # What the hub says when neither network nor cache has the file.
        raise DownloadError(f"not reachable ({_first_line(error)})", unreachable=True) from None
    except errors.EntryNotFoundError:
        raise DownloadError(f"the repository has no file {file!r} at {revision!r}") from None
    except errors.HfHubHTTPError as error:
        raise DownloadError(_first_line(error)) from None
    except Exception as error:
        # The hub's HTTP library changed with its versions, and its errors with it.
        raise DownloadError(f"{type(error).__name__}: {_first_line(error)}", unreachable=True) from None


def sha256_of_blob(path: Path) -> str:
    """The hash that the hub itself gave for a large file of its cache; empty when it is not known.

    The cache links to blobs named after the server's ETag, which is the sha256 for files kept in LFS.
    """
    name = Path(os.path.realpath(path)).name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
