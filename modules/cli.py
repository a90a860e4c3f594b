"""The command line: everything that the page can do, with progress bars.

``python -m modules.cli --help``; ``start.sh`` hands its words over to here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from modules import translate
from modules.errors import StudioError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="分身 Fenshen Studio")
console = Console(stderr=True)
POLL_SECONDS = 0.2

DataDir = Annotated[Path | None, typer.Option(help="数据目录 / data folder")]
Out = Annotated[Path, typer.Option(help="输出文件 / file to write")]
Yes = Annotated[bool, typer.Option("--yes", help="确认已获得本人同意 / I confirm the person's consent")]


_language = translate.of_terminal


def _studio(data_dir: Path | None) -> Any:
    from modules import settings
    from modules.jobs.studio import Studio

    studio = Studio(settings.load(data_dir=data_dir))
    studio.start()
    return studio


def _wait(studio: Any, job_id: str, what: str) -> dict[str, Any]:
    """Show a job's progress until it ends; Ctrl-C cancels it. Returns its result."""
    import time

    language = _language()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console
    ) as bars:
        bar = bars.add_task(what, total=1.0)
        try:
            while True:
                job = studio.job(job_id)
                stage = translate.text(job.stage, language) if job.stage else ""
                bars.update(bar, completed=job.progress, description=f"{what} {stage}".strip())
                if job.state == "done":
                    result: dict[str, Any] = job.result
                    return result
                if job.state == "failed":
                    raise job.error
                if job.state == "cancelled":
                    raise StudioError("job_cancelled")
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            studio.cancel(job_id)
            raise StudioError("job_cancelled") from None


def _tell_doubts(result: dict[str, Any]) -> None:
    """Print what listening back found."""
    from modules.jobs import listened

    found = result["listened"]
    if found is None:
        return
    for level, sentence in listened.remarks(found, _language()):
        console.print(sentence, style="yellow" if level == "warning" else None, markup=False)
    for doubt in listened.doubts(found, _language()):
        minutes, seconds = divmod(doubt.start, 60)
        console.print(f"  {int(minutes)}:{seconds:04.1f}  {doubt.sentence}", markup=False)
        console.print(f"      {doubt.why} {doubt.heard}".rstrip(), markup=False)


def _agreed(yes: bool) -> None:
    language = _language()
    if not yes and not typer.confirm(translate.text("cli.consent", language)):
        raise StudioError("consent_missing")


def _read_text(text: str | None, text_file: Path | None) -> str:
    if text_file is not None:
        try:
            return text_file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            raise StudioError("text_unreadable", name=text_file.name) from None
    return text or ""


def _prepare(studio: Any, video: Path, name: str, yes: bool) -> str:
    _agreed(yes)
    upload = studio.accept(video)
    consent = studio.consent("face", upload, _language())
    job = studio.submit("prepare_avatar", upload=upload, name=name, consent=consent)
    return str(_wait(studio, job, translate.text("cli.preparing", _language()))["avatar"])


def _clone(studio: Any, name: str, yes: bool, **source: str) -> str:
    _agreed(yes)
    extraction = studio.submit("extract_voice", **source)
    found = _wait(studio, extraction, translate.text("cli.extracting", _language()))
    consent = studio.consent("voice", extraction, _language())
    job = studio.submit(
        "clone_voice",
        extraction=extraction,
        name=name,
        transcript=found["transcript"],
        language=found["language"],
        consent=consent,
    )
    return str(_wait(studio, job, translate.text("cli.cloning", _language()))["voice"])


@app.command()
def prepare(video: Path, name: str = "", yes: Yes = False, data_dir: DataDir = None) -> None:
    """准备形象 / Prepare an avatar from a video or photo; prints its id."""
    print(_prepare(_studio(data_dir), video, name or video.stem, yes))


@app.command()
def clone(clip: Path, name: str = "", yes: Yes = False, data_dir: DataDir = None) -> None:
    """克隆声音 / Clone the voice in a clip; prints the voice's id."""
    studio = _studio(data_dir)
    print(_clone(studio, name or clip.stem, yes, upload=studio.accept(clip)))


@app.command()
def speak(
    voice: str,
    out: Out,
    text: str | None = None,
    text_file: Path | None = None,
    speed: float = 1.0,
    data_dir: DataDir = None,
) -> None:
    """试听 / Speak a text in a cloned voice into a WAV file."""
    studio = _studio(data_dir)
    job = studio.submit("speak", voice=voice, text=_read_text(text, text_file), speed=speed)
    result = _wait(studio, job, translate.text("cli.speaking", _language()))
    shutil.copyfile(studio.file(job, "speech.wav"), out)
    _tell_doubts(result)


@app.command()
def render(
    out: Out,
    video: Path | None = None,
    text: str | None = None,
    text_file: Path | None = None,
    avatar: str | None = None,
    voice: str | None = None,
    speed: float = 1.0,
    preview: bool = False,
    label: bool = True,
    yes: Yes = False,
    data_dir: DataDir = None,
) -> None:
    """生成视频 / Render a talking video. Give --video for a new avatar and voice, or the ids of known ones."""
    studio = _studio(data_dir)
    words = _read_text(text, text_file)
    studio.estimate(words, speed)  # an empty or endless script is refused before minutes are spent
    if avatar is None or voice is None:
        if video is None:
            raise StudioError("video_or_ids_missing")
        _agreed(yes)
        avatar = avatar or _prepare(studio, video, video.stem, True)
        voice = voice or _clone(studio, video.stem, True, avatar=avatar)
    job = studio.submit(
        "render", avatar=avatar, voice=voice, script=words, speed=speed, preview=preview, label=label,
        label_language=_language(),
    )  # fmt: skip
    result = _wait(studio, job, translate.text("cli.rendering", _language()))
    for kind, name in result["files"].items():
        target = out if kind == "video" else out.with_suffix(Path(name).suffix)
        shutil.copyfile(studio.file(job, name), target)
    console.print(f"{out}  {result['seconds']:.2f} s  avatar={avatar} voice={voice} job={job}")
    _tell_doubts(result)


@app.command()
def jobs(
    cancel: str | None = None,
    resume: str | None = None,
    delete: str | None = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    data_dir: DataDir = None,
) -> None:
    """列出、取消、继续或删除任务 / List jobs; cancel, resume or delete one."""
    studio = _studio(data_dir)
    if cancel:
        studio.cancel(cancel)
    if resume:
        studio.resume(resume)
        _wait(studio, resume, resume[:8])
    if delete:
        studio.delete(delete)
    found = studio.jobs()
    if as_json:
        rows = [{"id": j.id, "kind": j.kind, "state": j.state, "progress": j.progress, "title": j.title} for j in found]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    table = Table(Column("id", no_wrap=True, min_width=32), "kind", "state", "%", Column("title", no_wrap=True))
    for job in found:
        table.add_row(job.id, job.kind, job.state, f"{job.progress * 100:.0f}", job.title)
    Console().print(table)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False, data_dir: DataDir = None) -> None:
    """检查环境 / Check that everything the studio needs is here."""
    from modules import doctor as doctor_room
    from modules import settings

    raise typer.Exit(doctor_room.run(settings.load(data_dir=data_dir), _language(), as_json))


def main() -> None:
    """Run one command; an error is one sentence in the user's language and exit status 1."""
    try:
        app()
    except StudioError as error:
        console.print(translate.error_text(error, _language()), style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
