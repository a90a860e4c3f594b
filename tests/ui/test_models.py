"""The Models tab, and the engine on the render page, in a browser."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modules import weights
from modules.avatar.neural import stored
from modules.jobs import speeds
from modules.weights import choice, search, store
from modules.weights.catalogue import Place, WeightFile
from tests.ui import steps
from tests.ui.conftest import Site
from tests.ui.fakes import CARD, pretend_machine, pretend_weights, talking
from tests.waiting import wait_for
from tests.weights.server import Hub, HubServer, sha256

Visit = Callable[..., Any]
CONTENT = np.random.default_rng(7).bytes(3_000_000)
LIPS = "#models-list [data-engine='lips.wav2lip96']"
MUSE = "#models-list [data-engine='lips.musetalk15']"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(talking(1.0))
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A slow hub on this machine that has Wav2Lip 96, made small."""
    from huggingface_hub import constants

    listed = dict(weights.entries())
    file = WeightFile(
        "wav2lip_gan.pth",
        len(CONTENT),
        sha256(CONTENT),
        places=(Place("huggingface", "owner/lips", "main", "lips.pth"),),
    )
    listed["wav2lip-96"] = dataclasses.replace(listed["wav2lip-96"], files=(file,))
    monkeypatch.setattr(store, "entries", lambda: listed)
    monkeypatch.setattr(weights, "entries", lambda: listed)
    monkeypatch.setattr(choice, "_made", choice.Choice())
    monkeypatch.setattr(search, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with HubServer(Hub({"owner/lips/lips.pth": CONTENT}, slowness=0.05)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_download_pause_resume_check_and_delete(hub: Hub, site: Site, visit: Visit) -> None:
    page = visit(site.url)
    steps.open_tab(page, "models")
    page.wait_for_selector(f"{LIPS} [data-do=fetch]")
    assert "不可商用" in page.inner_text(LIPS) and "LRS2" in page.inner_text(LIPS)
    page.check("#hub-source input[value=huggingface]")
    page.click("#hub-save")
    page.wait_for_selector("#hub-saved .fs-good")
    assert site.studio.settings.hub_source == "huggingface"

    page.click(f"{LIPS} [data-do=fetch]")
    page.wait_for_function(f"/\\d+ % · .*MB/.test(document.querySelector(`{LIPS}`).innerText)")
    page.click(f"{LIPS} [data-do=pause]")
    page.wait_for_selector(f"{LIPS} [data-do=discard]")
    page.wait_for_function(f"document.querySelector(`{LIPS} .fs-chip`).innerText === '已暂停'")
    assert 0 < weights.arrived_bytes(site.studio.settings.models_dir, "wav2lip-96") < len(CONTENT)
    hub.asked.clear()
    hub.slowness = 0.0
    page.click(f"{LIPS} [data-do=fetch]")
    page.wait_for_selector(f"{LIPS} [data-do=verify]")
    assert max(asked.start for asked in hub.content_requests()) > 0  # it went on where it was
    assert page.inner_text(f"{LIPS} .fs-chip") == "可以使用"

    page.click(f"{LIPS} [data-do=verify]")
    page.wait_for_selector(f"{LIPS} .fs-note.fs-good")
    page.click(f"{LIPS} [data-do=files]")
    page.wait_for_selector(f"{LIPS} .fs-weights li")
    page.click(f"{LIPS} [data-do=delete]")
    page.click(f"{LIPS} [data-do=delete-sure]")
    page.wait_for_selector(f"{LIPS} [data-do=fetch]")
    assert not (site.studio.settings.models_dir / "wav2lip-96").exists()


def test_a_download_is_discarded(hub: Hub, site: Site, visit: Visit) -> None:
    site.studio.save_hub(hub_source="huggingface")
    page = visit(site.url, locale="en-GB")
    steps.open_tab(page, "models")
    page.click(f"{LIPS} [data-do=fetch]")
    page.wait_for_function(f"/MB.s/.test(document.querySelector(`{LIPS} .fs-progress-line`)?.innerText)")
    page.click(f"{LIPS} [data-do=discard]")
    page.wait_for_function(f"document.querySelector(`{LIPS} .fs-chip`).innerText === 'Not here'")
    assert weights.arrived_bytes(site.studio.settings.models_dir, "wav2lip-96") == 0


def test_a_refused_download_is_one_sentence(hub: Hub, site: Site, visit: Visit) -> None:
    site.studio.save_hub(hub_source="huggingface")
    hub.gated.add("owner/lips")
    page = visit(site.url, locale="en-GB")
    steps.open_tab(page, "models")
    page.click(f"{LIPS} [data-do=fetch]")
    page.wait_for_selector(f"{LIPS} .fs-note.fs-error")
    assert "token" in page.inner_text(f"{LIPS} .fs-note.fs-error")
    page.fill("#hub-token input", hub.token)
    page.click("#hub-save")
    page.wait_for_selector("#hub-saved .fs-good")
    assert hub.token not in page.content() and page.input_value("#hub-token input") == ""
    hub.slowness = 0.0
    page.click(f"{LIPS} [data-do=fetch]")
    page.wait_for_selector(f"{LIPS} [data-do=verify]")
    page.click("#hub-forget")
    page.wait_for_function(
        "document.querySelector('#hub-forget') === null || !document.querySelector('#hub-forget').offsetParent"
    )
    assert site.studio.settings.hub_token is None


def test_import_of_a_folder_and_of_an_upload(hub: Hub, site: Site, visit: Visit, tmp_path: Path) -> None:
    usb = tmp_path / "usb 盘"
    usb.mkdir()
    (usb / "wav2lip_gan.pth").write_bytes(CONTENT)
    page = visit(site.url)
    steps.open_tab(page, "models")
    page.fill("#import-folder input, #import-folder textarea", str(tmp_path / "nowhere"))
    page.click("#import-start")
    assert "nowhere" in steps.toast(page)
    page.fill("#import-folder input, #import-folder textarea", str(usb))
    page.click("#import-start")
    page.wait_for_selector("#import-result .fs-good")
    page.wait_for_selector(f"{LIPS} [data-do=verify]")
    site.studio.delete_weights("wav2lip-96")
    page.set_input_files("#import-file input[type=file]", str(usb / "wav2lip_gan.pth"))
    wait_for(lambda: weights.state(site.studio.settings.models_dir, "wav2lip-96") == "ready", 20)
    page.wait_for_selector(f"{LIPS} [data-do=verify]")


def test_shared_weights_stay_and_damaged_ones_are_named(site: Site, visit: Visit) -> None:
    models = site.studio.settings.models_dir
    shared = ("sd-vae-ft-mse", "whisper-tiny", "face-parsing")
    pretend_weights(models, "musetalk-1.5", "musetalk-1.0", *shared, "wav2lip-256")
    (models / "wav2lip-256" / "wav2lipv2.pth").write_bytes(b"half")
    page = visit(site.url, locale="en-GB")
    steps.open_tab(page, "models")
    page.wait_for_selector("[data-engine='lips.wav2lip256'] .fs-note.fs-error")
    assert page.inner_text("[data-engine='lips.wav2lip256'] .fs-chip") == "Damaged"
    assert "CelebAMask-HQ" in page.inner_text(MUSE)
    page.click(f"{MUSE} [data-do=delete]")
    page.wait_for_selector(f"{MUSE} [data-do=delete-sure]")
    assert "MuseTalk 1.5" in page.inner_text(f"{MUSE} .fs-warning >> nth=-1")
    page.click(f"{MUSE} [data-do=delete-sure]")
    page.wait_for_selector(f"{MUSE} [data-do=fetch]")
    assert not (models / "musetalk-1.5").exists() and all((models / name).exists() for name in shared)


def prepared_with(folder: Path, pad_bottom: float) -> None:
    """What an engine leaves in ``folder`` of an avatar that it has prepared."""
    key = {"version": 1, "pad_bottom": pad_bottom, "pad_top": 0.0}
    stored.save(folder, key, 0, np.zeros((1, 4)), np.zeros((1, 2, 2)), {})


def test_the_engine_with_its_controls_and_one_frame(site: Site, visit: Visit, clip: Path) -> None:
    data = site.studio.settings.data_dir
    pretend_weights(site.studio.settings.models_dir, "wav2lip-96")
    speeds.note(data, "wav2lip96", 250, 2.5, 1080, 1920)
    page = visit(site.url)
    steps.offer_video(page, clip)
    steps.make_avatar(page, "小美")
    steps.open_tab(page, "voice")
    steps.clone_voice(page, "小美")
    steps.open_tab(page, "script")
    steps.write_script(page, "一句话。")
    steps.open_tab(page, "render")
    assert page.locator("#engine-controls input").count() == 0  # the built-in one has nothing to set
    page.click("#render-engines summary")
    assert "100 帧" in page.inner_text("#render-engines [data-id=wav2lip96]")
    page.click("#render-engines [data-id=wav2lip96]")
    page.wait_for_selector("#option-wav2lip96-gain")
    assert page.locator("#option-wav2lip96-live").count() == 0
    assert "第一次" in page.inner_text("#engine-note")
    page.eval_on_selector(
        "#option-wav2lip96-pad_bottom",
        "one => { one.value = 0.1; one.dispatchEvent(new Event('input', {bubbles: true}));"
        " one.dispatchEvent(new Event('change', {bubbles: true})); }",
    )
    assert page.inner_text(".fs-control:has(#option-wav2lip96-pad_bottom) output") == "0.1"

    page.click("#engine-controls [data-do=frame]")
    page.wait_for_selector("#frame-result img")
    page.wait_for_function("document.querySelector('#frame-result img').naturalWidth > 600")
    frame = site.studio.jobs(kinds=["preview_frame"])[0]
    assert frame.params["engine"] == "wav2lip96" and frame.params["options"]["pad_bottom"] == 0.1
    assert "live" not in frame.params["options"]

    # Prepared with another chin: it says so, until the control is back where it was.
    folder = site.studio.avatars.list()[0].engine_folder("wav2lip96")
    folder.mkdir(parents=True)
    prepared_with(folder, 0.05)
    page.reload()
    page.wait_for_selector("#engine-note .fs-warning")
    assert page.input_value("#option-wav2lip96-pad_bottom") == "0.1"  # the browser has kept it
    page.click("#engine-controls [data-do=defaults]")
    page.wait_for_selector("#engine-note .fs-warning", state="detached")

    # A render may have prepared the avatar, so what is told of that is looked up again at its end.
    prepared_with(folder, 0.07)
    page.click("#render-start")
    page.wait_for_selector("#render-result video")
    page.wait_for_selector("#engine-note .fs-warning")
    render = site.studio.jobs(kinds=["render"])[0]
    assert render.params["engine"] == "wav2lip96" and render.params["options"]["pad_bottom"] == 0.05
    # Its weights go: a render is refused in a sentence instead of beginning with another engine.
    site.studio.delete_weights("wav2lip-96")
    page.click("#render-start")
    assert "Wav2Lip 96" in steps.toast(page)


def test_advice_follows_the_machine_and_leads_to_the_models(site: Site, visit: Visit) -> None:
    pretend_machine(site.studio.settings.data_dir, CARD)
    page = visit(site.url, locale="en-GB")
    steps.open_tab(page, "render")
    page.wait_for_selector("#render-engines details")
    assert "RTX 4070" in page.inner_text(".fs-why") and "MuseTalk 1.5" in page.inner_text(".fs-why")
    page.click("#render-engines summary")
    page.click("#render-engines [data-id=musetalk15]")
    page.wait_for_selector(f"{MUSE} [data-do=fetch]")
    names = ("musetalk-1.5", "sd-vae-ft-mse", "whisper-tiny", "face-parsing")
    pretend_weights(site.studio.settings.models_dir, *names)
    steps.open_tab(page, "render")
    page.wait_for_selector("#option-musetalk15-parsing")  # nobody has chosen: it is taken as recommended
    assert "MuseTalk 1.5" in page.inner_text("#render-engines summary")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for tab in ("render", "models"):
            steps.open_tab(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
