"""The studio in the browser: reads the options, builds the services, launches; nothing else."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path

REFUSED = (
    "要让别的设备访问，请用 --auth 用户名:密码 设一个登录。\n"
    "To let other machines in, set a login with --auth NAME:PASSWORD."
)
PORT_TAKEN = (
    "端口 {port} 已被占用：分身可能已经开着，也可以用 --port 换一个。\n"
    "Port {port} is taken: the studio may be open already, or choose another with --port."
)
READY = "分身已就绪 / The studio is ready: {address}"
LOGIN_SHAPE = "--auth 的写法是 用户名:密码。\n--auth is written NAME:PASSWORD."


def port(given: str) -> int:
    """A port number, or the sentence that says what it must be."""
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        raise argparse.ArgumentTypeError("1 - 65535")
    return int(given)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line. Nothing heavy is imported before it is read."""
    parser = argparse.ArgumentParser(prog="webui.py", description="分身 Fenshen Studio")
    parser.add_argument("--host", help="网络地址，默认只有本机 / address to listen on, default: this machine only")
    parser.add_argument("--port", type=port, help="端口，默认 7860 / port, default 7860")
    parser.add_argument("--share", action="store_true", default=None, help="临时公网链接 / temporary public link")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="登录用户名和密码 / login of the page")
    parser.add_argument("--data-dir", type=Path, help="数据文件夹 / folder of your avatars, voices and videos")
    return parser.parse_args(arguments)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(host: str, share: bool, auth: str | None) -> str | None:
    """Why the page must not be opened like this, or None."""
    if auth is not None and not all(auth.partition(":")):
        return LOGIN_SHAPE
    if auth is None and (share or not is_loopback(host)):
        return REFUSED
    return None


def main() -> None:
    """Open the studio and serve until interrupted."""
    given = options()
    from modules import settings as settings_file

    settings = settings_file.load(**vars(given))
    refused = refusal(settings.host, settings.share, settings.auth)
    if refused:
        sys.exit(refused)
    # Gradio and the hub's client read these once, when they are imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(settings.data_dir / "tmp")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

    from huggingface_hub import constants

    # Of this process alone, not of the environment: the workers inherit that, and it is they who download.
    constants.HF_HUB_OFFLINE = True

    from modules.jobs.studio import Studio
    from modules.ui import app

    studio = Studio(settings)
    studio.start()
    try:
        page = app.build(studio, settings)
        _, local, shared = page.launch(prevent_thread_lock=True, quiet=True, **app.launch_options(settings))
        print(READY.format(address=shared or local), flush=True)
        page.block_thread()
    except OSError:
        sys.exit(PORT_TAKEN.format(port=settings.port))
    finally:
        studio.stop()


if __name__ == "__main__":
    main()
