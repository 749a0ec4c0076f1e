"""Potentials in repositories of the Hugging Face Hub: `hf:owner/name`, or `hf:owner/name@revision`.

Example::

    folder = hub_folder("hf:owner/nacl@3f2a91c")     # in the cache of the client; then load_checkpoint(folder)

A repository has the files of a checkpoint (see `gnnpot.hub.publish`). They are downloaded by the client
`huggingface-hub` to its own cache, by their ETags, with the address (`HF_ENDPOINT`), the token and the cache
(`HF_HOME`) set by the user. Card and weights are always from the same commit. Downloaded potentials can be opened
without internet access. The weights are verified with the sha256 of the card whenever they are opened.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.extras import needs_extra
from gnnpot.hub.card import CARD, WEIGHTS

if TYPE_CHECKING:
    from tqdm import tqdm

    from gnnpot.hub.download import Report

#: prefix of names of repositories
PREFIX = "hf:"
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@(\S+))?", re.ASCII)


def hub_folder(name: str, report: "Report | None" = None) -> Path:
    """Return the folder of a checkpoint in a repository of the Hub; it is downloaded if it is not in the cache.

    Args:
        name: `hf:owner/name` for the main branch, or `hf:owner/name@revision` for a branch, a tag or a commit.
        report: Called with the progress of the download of the weights.

    Returns:
        The folder, in the cache of `huggingface-hub`.

    Raises:
        CheckpointError: The name is invalid, or the repository has no checkpoint of gnnpot.
        DownloadError: The repository or revision does not exist, or it can't be reached and is not in the cache.
        MissingExtraError: `huggingface-hub` is not installed.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise CheckpointError(f"{name}: is no repository; give hf:owner/name, or hf:owner/name@revision")
    with needs_extra(name):
        import huggingface_hub  # noqa: F401 - a missing package is reported first
    repository, revision = match.groups()
    card = _fetch(name, repository, CARD, revision, None)
    # the card is snapshots/COMMIT/card.json; with COMMIT as revision, both files are from the same commit
    weights = _fetch(name, repository, WEIGHTS, card.parent.name, report)
    if weights.parent != card.parent:
        raise DownloadError(f"{name}: its files are of different commits; remove it from the cache of huggingface-hub")
    return card.parent


def _fetch(name: str, repository: str, file: str, revision: str | None, report: "Report | None") -> Path:
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(
            hf_hub_download(
                repository,
                file,
                revision=revision,
                library_name="gnnpot",
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                tqdm_class=_bar(file, report),
            )
        )
    except errors.GatedRepoError:
        raise DownloadError(
            f"{name}: its owners grant access one by one; ask on its page, then: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(
            f"{name}: there is no such repository, or it is private; check the name, or log in: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise DownloadError(f"{name}: the repository has no such revision; give a branch, a tag or a commit") from None
    except errors.LocalEntryNotFoundError:
        raise DownloadError(
            f"{name}: can't be reached, and is not in the cache of huggingface-hub; check the network, or HF_ENDPOINT"
        ) from None
    except errors.EntryNotFoundError:
        raise CheckpointError(f"{name}: has no {file}; it holds no potential that gnnpot has published") from None
    except errors.HFValidationError as error:
        raise CheckpointError(f"{name}: is no repository ({' '.join(str(error).split())})") from None
    except errors.HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise DownloadError(f"{name}: can't be fetched ({reason}); try again later") from None
    except OSError as error:
        raise DownloadError(
            f"{name}: can't be written to the cache of huggingface-hub ({error.strerror or error}); set HF_HOME to a "
            "folder with room"
        ) from None


def _bar(file: str, report: "Report | None") -> "type[tqdm]":
    """Return a class of progress bars for the client that display nothing and call `report`."""
    from huggingface_hub.utils import tqdm as client_bar

    class Reported(client_bar):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self._done, self._size = int(options.get("initial") or 0), int(options.get("total") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            if report is not None and self._size:
                report(file, min(self._done, self._size), self._size)
            return super().update(n)

    return Reported
