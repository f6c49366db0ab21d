"""A release as PHP applications have them: the same bytes every time, on every machine."""

import random
from pathlib import Path

WORDS = """public private protected function return array string int bool null true false if else foreach as use new
class extends implements namespace const static self parent throw try catch finally instanceof abstract interface trait
request response model query builder collection container service provider event listener handler middleware session
cache config route view validator auth guard token user order invoice payment customer address price total items status
created updated deleted value name type options result context logger message exception closure callback pipeline""".split()


def make(dest: Path, files: int, total: int) -> None:
    """Writes `files` files with `total` bytes together into a new directory: many small texts, some larger ones, and a
    few that do not compress."""
    dice = random.Random(20251102)
    sizes = [small(dice) for _ in range(files)]
    for at in dice.sample(range(files), files // 25):
        sizes[at] = dice.randint(12_000, 60_000)
    large = sorted(dice.sample(range(files), max(3, files // 450)))
    for at in large:
        sizes[at] = dice.randint(200_000, 900_000)
    # The small ones bear what is left, so that the sum is exact.
    rest = [at for at in range(files) if sizes[at] <= 10_240]
    scale = (total - sum(sizes[at] for at in range(files) if sizes[at] > 10_240)) / sum(sizes[at] for at in rest)
    for at in rest:
        sizes[at] = max(120, int(sizes[at] * scale))
    sizes[rest[0]] += total - sum(sizes)
    lines = [line(dice) for _ in range(6_000)]
    binary = set(large[::2])
    for at, size in enumerate(sizes):
        path = dest / place(at)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(size) if at in binary else text(dice, lines, size))


def change(dest: Path, part: float) -> int:
    """Changes that part of the files, as a patch release would. Gives how many."""
    dice = random.Random(20251103)
    files = sorted(path for path in dest.rglob("*") if path.is_file())
    chosen = dice.sample(files, int(len(files) * part))
    for path in chosen:
        with path.open("ab") as file:
            file.write(f"// changed {dice.getrandbits(64):x}\n".encode())
    return len(chosen)


def small(dice: random.Random) -> int:
    return min(10_240, max(400, int(dice.lognormvariate(8.2, 0.7))))


def place(at: int) -> str:
    """About ten files in a directory, three to six levels deep."""
    if at == 0:
        return "public/index.php"
    if at % 12 == 5:
        return f"public/build/assets/{at // 600}/chunk-{at:05}.js"
    package = at // 90
    return f"vendor/acme{package % 17:02}/package{package:03}/src/Part{at // 10 % 9}/{WORDS[at % len(WORDS)].title()}{at:05}.php"


def line(dice: random.Random) -> bytes:
    words = " ".join(dice.choices(WORDS, k=dice.randint(2, 9)))
    return f"{'    ' * dice.randint(0, 3)}${dice.choice(WORDS)}->{dice.choice(WORDS)}({words}, {dice.getrandbits(24)});\n".encode()


def text(dice: random.Random, lines: list[bytes], size: int) -> bytes:
    """Lines from a common stock, as code has them; what is left over is cut off."""
    head = f"<?php // {dice.getrandbits(64):x}\n".encode()
    body = b"".join(dice.choices(lines, k=size // 40 + 1))
    out = head + body
    while len(out) < size:
        out += dice.choice(lines)
    return out[:size]
