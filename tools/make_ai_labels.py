"""Draw the visible AI label into modules/data: python tools/make_ai_labels.py FONT

Needs Pillow; FONT is Noto Sans CJK Bold (OFL).
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parent.parent / "modules" / "data"
TEXTS = {"zh-CN": "AI 生成", "en": "AI-generated"}


def main() -> None:
    font = ImageFont.truetype(sys.argv[1], 100)
    for language, text in TEXTS.items():
        left, top, right, bottom = font.getbbox(text)
        picture = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=font)
        picture.save(FOLDER / f"ai_label_{language}.png", optimize=True)


if __name__ == "__main__":
    main()
