"""Model hubs: which to ask for a file, in what order, and what they say of it.

Hugging Face and its mirrors are asked by huggingface_hub. Files come over plain HTTP even where the hub would
offer Xet: that way a download that broke off goes on at the byte where it was, from whichever hub answers.
ModelScope has a list of files with their hashes and one address a file, which needs no package of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from modules.errors import StudioError
from modules.weights.catalogue import Entry, Place, WeightFile
from modules.weights.choice import Choice
from modules.weights.meter import Meter
from modules.weights.transfer import Offer, receive, waited

HUGGINGFACE = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"
_ANSWER_SECONDS = 8.0  # a hub that says nothing for so long is passed over
# When several hubs fail, the user hears of the failure that tells most.
_TELLING = (
    "weights_gated",
    "weights_download_broken",
    "weights_interrupted",
    "weights_source_failed",
    "weights_not_found",
    "weights_source_silent",
)


@dataclass(frozen=True)
class Route:
    """One way to a file. name: of the hub, as users know it. endpoint: its address. trusted: with the user's token."""

    name: str
    endpoint: str
    place: Place
    token: str | None = None
    trusted: bool = False


class Hubs:
    """The hubs of the user's choice, for the files of one entry; remembers which of them answer."""

    def __init__(self, choice: Choice, entry: Entry) -> None:
        self._choice = choice
        self._entry = entry
        self._silent: set[str] = set()
        self._answered = ""

    def load(self, file: WeightFile, folder: Path, meter: Meter, done: int) -> tuple[Path, str]:
        """Load a file into ``folder``: where it lies there and its sha256. ``done``: bytes of the entry before it.

        The first hub that answers is taken; when it fails, the next goes on where it stopped.
        """
        routes = sorted(self._routes(file), key=lambda route: route.endpoint != self._answered)
        if not routes:
            raise StudioError("weights_not_offered", name=self._entry.title, source=self._choice.source)
        failures: list[StudioError] = []
        for route in routes:
            if route.endpoint in self._silent:
                continue
            try:
                offer = waited(partial(self._ask, route, file), meter.still)
                self._answered = route.endpoint
                return receive(offer, file, folder, meter, done, self._entry.title)
            except StudioError as error:
                if error.code not in _TELLING:
                    raise
                if error.code == "weights_source_silent":
                    self._silent.add(route.endpoint)
                failures.append(error)
        raise self._failure(failures)

    def _failure(self, failures: list[StudioError]) -> StudioError:
        telling = min(failures, key=lambda error: _TELLING.index(error.code), default=None)
        if telling is None or (telling.code == "weights_source_silent" and self._choice.source == "auto"):
            return StudioError("weights_offline", retryable=True, name=self._entry.title)
        return telling

    def _routes(self, file: WeightFile) -> Iterator[Route]:
        """Every way to a file that the choice allows, in the order in which they are tried."""
        source = self._choice.source
        on_hub = [place for place in file.places if place.hub == "huggingface"]
        if source in ("auto", "huggingface"):
            endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUGGINGFACE
            yield from (Route(_host(endpoint), endpoint, place, self._choice.token, trusted=True) for place in on_hub)
        if source in ("auto", "mirror"):
            # The token is the user's key to Hugging Face; a mirror is somebody else.
            yield from (Route(_host(self._choice.mirror), self._choice.mirror, place) for place in on_hub)
        if source in ("auto", "modelscope"):
            endpoint = _modelscope()
            on_scope = (place for place in file.places if place.hub == "modelscope")
            yield from (Route("ModelScope", endpoint, place) for place in on_scope)
        elsewhere = (place for place in file.places if place.hub == "url")
        yield from (Route(_host(place.path), _host(place.path), place) for place in elsewhere)

    def _ask(self, route: Route, file: WeightFile) -> Offer:
        """What a hub offers; whatever goes wrong becomes one of the errors that users see."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import httpx2
        from huggingface_hub import errors

        title, name = self._entry.title, file.name
        try:
            offer = _ASK[route.place.hub](route)
        except errors.GatedRepoError:
            raise _gated(title, f"{HUGGINGFACE}/{route.place.repository}") from None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError, KeyError):
            raise _not_found(title, name, route.name) from None
        except errors.HfHubHTTPError as error:
            raise failed(error.response.status_code, title, name, route.name) from None
        except (httpx2.HTTPError, OSError):
            raise StudioError("weights_source_silent", retryable=True, name=title, source=route.name) from None
        except ValueError:  # an answer that is no JSON: a hotel's or an office's page in between
            raise failed(200, title, name, route.name) from None
        other_content = file.sha256 and offer.sha256 and offer.sha256 != file.sha256
        if other_content or not file.fits(offer.size):
            raise StudioError("weights_download_broken", retryable=True, name=title, file=name)
        return offer


def failed(status: int, title: str, file: str, source: str) -> StudioError:
    """The error for an HTTP status that is none of the wanted ones."""
    if status in (404, 410):
        return _not_found(title, file, source)
    if status in (401, 403):
        return _gated(title, HUGGINGFACE)
    return StudioError("weights_source_failed", retryable=True, name=title, file=file, source=source, status=status)


def _not_found(title: str, file: str, source: str) -> StudioError:
    return StudioError("weights_not_found", retryable=True, name=title, file=file, source=source)


def _gated(title: str, page: str) -> StudioError:
    return StudioError("weights_gated", retryable=True, name=title, page=page)


def _ask_huggingface(route: Route) -> Offer:
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    place = route.place
    url = hf_hub_url(place.repository, place.path, revision=place.revision, endpoint=route.endpoint)
    # Without a token in the settings, that of HF_TOKEN or of a login on this machine counts.
    token = (route.token or get_token()) if route.trusted else None
    told = get_hf_file_metadata(url, token=token or False, timeout=_ANSWER_SECONDS, endpoint=route.endpoint)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # Large files are named by their sha256, small ones by git's sha1 of them.
    etag = (told.etag or "").lower()
    return Offer(
        url, headers, told.size or 0, etag if len(etag) == 64 else "", etag if len(etag) == 40 else "", route.name
    )


def _ask_modelscope(route: Route) -> Offer:
    from huggingface_hub import get_session, hf_raise_for_status

    place = route.place
    listing = f"{route.endpoint}/api/v1/models/{place.repository}/repo/files"
    query = {"Revision": place.revision, "Recursive": "true"}
    answer = get_session().get(listing, params=query, timeout=_ANSWER_SECONDS)
    hf_raise_for_status(answer)
    listed = {file["Path"]: file for file in answer.json()["Data"]["Files"]}
    told = listed[place.path]
    url = f"{route.endpoint}/models/{place.repository}/resolve/{place.revision}/{quote(place.path)}"
    return Offer(url, {}, int(told["Size"]), str(told.get("Sha256") or "").lower(), "", route.name)


def _ask_address(route: Route) -> Offer:
    from huggingface_hub import get_session, hf_raise_for_status

    answer = get_session().head(route.place.path, headers={"accept-encoding": "identity"}, timeout=_ANSWER_SECONDS)
    hf_raise_for_status(answer)
    return Offer(route.place.path, {}, int(answer.headers.get("Content-Length", 0)), "", "", route.name)


_ASK = {"huggingface": _ask_huggingface, "modelscope": _ask_modelscope, "url": _ask_address}


def _modelscope() -> str:
    """The address of ModelScope; MODELSCOPE_DOMAIN is the variable that its own client listens to."""
    domain = os.environ.get("MODELSCOPE_DOMAIN", "").rstrip("/")
    return MODELSCOPE if not domain else domain if "://" in domain else f"https://{domain}"


def _host(address: str) -> str:
    return urlsplit(address).hostname or address
