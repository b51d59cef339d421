"""`tony chat MODEL`: talk in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Type a message and press Enter.
  /with FILE    add a picture, sound or clip to the next message
  /want LIST    what should come back, in order: text,image,audio
  /help /quit"""


def chat(
    model: Annotated[Path, typer.Argument(help="a run folder, such as runs/digits")],
    want: Annotated[str, typer.Option(help="what should come back, in order")] = "text",
    message: Annotated[str | None, typer.Option("--message", "-m", help="ask once and leave")] = None,
    attach: Annotated[
        list[Path] | None, typer.Option("--with", help="files that go before the message")
    ] = None,
    out: Annotated[Path, typer.Option(help="where pictures and sounds of the reply are written")] = Path("."),
    seed: Annotated[int, typer.Option(help="of the random stream")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the reply as JSON; needs --message or --with")
    ] = False,
) -> None:
    """Talk with a trained model; pictures are shown in the terminal, and written to files as sounds are."""
    from tony.cli.show import print_json
    from tony.engine import Omni
    from tony.errors import TonyError
    from tony.media import Document, Text, read

    omni = Omni.load(model)
    parts = [read(path) for path in attach or []]
    wanted = _wanted(want)
    if message is not None or (parts and as_json):
        asked = Document([*parts, *([Text(message)] if message else [])])
        shown = [_show(part, out, i, as_json) for i, part in enumerate(omni.reply(asked, wanted, seed=seed))]
        if as_json:
            print_json({"reply": shown})
        return
    if as_json:
        raise TonyError("--json needs a message: add --message TEXT or --with FILE")
    print(HELP)
    turn = 0
    while True:
        try:
            line = input("you> ").strip()
        except EOFError:
            return
        try:
            command, _, rest = line.partition(" ")
            if command == "/quit":
                return
            if command == "/help":
                print(HELP)
            elif command == "/want":
                wanted = _wanted(rest)
            elif command == "/with":
                parts.append(read(Path(rest).expanduser()))
                print(f"({len(parts)} added)")
            elif line or parts:
                asked = Document([*parts, *([Text(line)] if line else [])])
                for i, part in enumerate(omni.reply(asked, wanted, seed=seed + turn)):
                    _show(part, out, 100 * turn + i, False)
                parts, turn = [], turn + 1
        except TonyError as error:
            print(f"tony: {error}")


def _wanted(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


def _show(part, out: Path, number: int, as_json: bool) -> dict[str, str]:
    """Print the part and write it to a file where it is no text; what `--json` prints of it comes back."""
    from tony.media import write

    if part.modality == "text":
        if not as_json:
            print(f"tony> {part.text}")
        return {"type": "text", "text": part.text}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"reply-{number:03d}.{'png' if part.modality == 'image' else 'wav'}"
    write(part, path)
    if not as_json:
        if part.modality == "image" and part.width <= 64:
            print(_blocks(part))
        print(f"tony> ({part.modality} written to {path})")
    return {"type": part.modality, "path": str(path)}


def _blocks(image) -> str:
    """A small picture in shades, two characters a pixel."""
    shades = " .:-=+*#%@"
    grey = image.pixels.mean(-1)
    return "\n".join("".join(shades[int(v) * len(shades) // 256] * 2 for v in row) for row in grey)
