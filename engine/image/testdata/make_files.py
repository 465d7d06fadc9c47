#!/usr/bin/python3
"""Makes files/ and files/expected.json: image files of all kinds and what
Pillow's convert("RGB") makes of each. Run in this folder, on Debian 12 with
python3-pil 9.4, python3-numpy 1.24, libjpeg-turbo-progs 2.1.5 and webp 1.2.4;
expected.json names the versions it was made with. The photographs are
skimage's public test images, as in images/.
"""
import hashlib, io, json, pathlib, random, struct, subprocess, warnings, zlib

import numpy as np
from PIL import Image, features
import PIL

warnings.simplefilter("ignore")
random.seed(1)
OUT = pathlib.Path("files")
ASTRONAUT = Image.open("images/astronaut.png").convert("RGB")
COFFEE = Image.open("images/coffee.png").convert("RGB")
SMALL = COFFEE.resize((141, 97))


def save(name, image, **options):
    image.save(OUT / name, **options)


def cjpeg(name, image, *options):
    ppm = io.BytesIO()
    image.save(ppm, "PPM")
    (OUT / name).write_bytes(
        subprocess.run(["cjpeg", *options], input=ppm.getvalue(), capture_output=True, check=True).stdout)


def cwebp(name, image, *options):
    png = io.BytesIO()
    image.save(png, "PNG")
    (OUT / name).write_bytes(
        subprocess.run(["cwebp", "-quiet", *options, "-o", "-", "--", "-"], input=png.getvalue(), capture_output=True, check=True).stdout)


def jpegs():
    save("photo-420.jpg", ASTRONAUT, quality=90)
    save("photo-420-progressive.jpg", ASTRONAUT, quality=80, progressive=True)
    save("420.jpg", SMALL, quality=88)
    save("422.jpg", SMALL, quality=88, subsampling=1)
    save("444.jpg", SMALL, quality=95, subsampling=0)
    save("quality-100.jpg", SMALL, quality=100, subsampling=0)
    save("quality-3.jpg", SMALL, quality=3)
    save("optimized.jpg", SMALL, quality=90, optimize=True)
    save("gray.jpg", SMALL.convert("L"), quality=90)
    save("gray-progressive.jpg", SMALL.convert("L"), quality=90, progressive=True)
    save("422-progressive.jpg", SMALL, quality=88, subsampling=1, progressive=True)
    save("444-progressive.jpg", SMALL, quality=95, subsampling=0, progressive=True)
    save("exif-orientation.jpg", SMALL, quality=70, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    for sampling in "1x2", "4x1", "4x2", "2x4", "2x2,1x2", "2x1,1x1", "2x2,2x1,1x2":
        cjpeg("sampling-" + sampling.replace(",", "-") + ".jpg", SMALL, "-sample", sampling, "-quality", "90")
    cjpeg("sampling-1x2-progressive.jpg", SMALL, "-sample", "1x2", "-progressive")
    cjpeg("restart.jpg", SMALL, "-restart", "3B")
    cjpeg("restart-progressive.jpg", SMALL, "-restart", "7B", "-progressive")
    cjpeg("rgb.jpg", SMALL, "-rgb", "-quality", "95")
    (OUT / "scans.txt").write_text("0; 1; 2;\n")
    cjpeg("three-scans.jpg", SMALL, "-scans", str(OUT / "scans.txt"))
    (OUT / "scans.txt").unlink()
    for size in (1, 1), (2, 3), (3, 2), (4, 17), (5, 8), (8, 5), (16, 16), (17, 33):
        save("%dx%d.jpg" % size, COFFEE.resize(size), quality=90)

    cmyk = Image.merge("CMYK", [*SMALL.split(), ASTRONAUT.convert("L").resize(SMALL.size)])
    save("cmyk.jpg", cmyk, quality=90)
    data = bytearray((OUT / "cmyk.jpg").read_bytes())
    at = data.find(b"Adobe")
    data[at + 11] = 2  # colour transform: YCCK
    (OUT / "ycck.jpg").write_bytes(data)
    del data[at - 4:at + 12]
    (OUT / "cmyk-without-adobe.jpg").write_bytes(data)
    data = (OUT / "420.jpg").read_bytes()
    (OUT / "garbage-behind.jpg").write_bytes(data + b"garbage" * 9)
    (OUT / "garbage-before-end.jpg").write_bytes(data[:-2] + b"garbage" + data[-2:])
    (OUT / "fill-bytes.jpg").write_bytes(data[:-2] + b"\xff\xff" + data[-2:])


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def filtered(rows, pixel):
    """The rows behind filter types chosen at random."""
    out, above = bytearray(), bytes(len(rows[0]))
    for row in rows:
        kind = random.randrange(5)
        out.append(kind)
        for i, v in enumerate(row):
            a, c = (row[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
            b = above[i]
            near = min((a, b, c), key=lambda n: abs(a + b - c - n))
            out.append((v - (0, a, b, (a + b) // 2, near)[kind]) & 255)
        above = row
    return bytes(out)


def packed(samples, depth):
    """The rows of (height, width, samples) integers."""
    rows = []
    for row in samples.reshape(len(samples), -1):
        if depth == 16:
            rows.append(row.astype(">u2").tobytes())
        else:
            bits = "".join(format(v, "0%db" % depth) for v in row.tolist())
            bits += "0" * (-len(bits) % 8)
            rows.append(bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)


def png(name, samples, color, depth, interlaced=False, palette=b"", transparent=b"", idat=1 << 20, level=6, strategy=0):
    height, width, count = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = (samples[y::dy, x::dx] for x, y, dx, dy in passes)
    data = b"".join(filtered(packed(p, depth), max(1, count * depth // 8)) for p in parts if p.size)
    deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 8, strategy)
    data = deflate.compress(data) + deflate.flush()
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    if palette:
        out += chunk(b"PLTE", palette)
    if transparent:
        out += chunk(b"tRNS", transparent)
    for i in range(0, len(data), idat):
        out += chunk(b"IDAT", data[i:i + idat])
    (OUT / name).write_bytes(out + chunk(b"IEND", b""))


def photo(size, count, depth):
    """(height, width, count) samples of a photograph."""
    a = np.array(COFFEE.resize(size)).astype(np.int64)
    a = np.concatenate([a, 255 - a[:, :, :1]], 2) if count > 2 else np.stack([a.sum(2) // 3, a[:, :, 1]], 2)
    a = a[:, :, :count]
    if depth == 16:
        a = a * 257 + a * 7919 % 251
    return np.minimum(a, 65535) if depth == 16 else a >> (8 - depth)


def pngs():
    kinds = {"gray": (0, 1, (1, 2, 4, 8, 16)), "rgb": (2, 3, (8, 16)), "palette": (3, 1, (1, 2, 4, 8)),
             "gray-alpha": (4, 2, (8, 16)), "rgba": (6, 4, (8, 16))}
    for kind, (color, count, depths) in kinds.items():
        for depth in depths:
            palette = bytes(random.randrange(256) for _ in range(3 << depth)) if color == 3 else b""
            transparent = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(color, b"")
            png("%s-%d.png" % (kind, depth), photo((29, 17), count, depth), color, depth, False, palette, transparent)
            png("%s-%d-interlaced.png" % (kind, depth), photo((13, 11), count, depth), color, depth, True, palette, transparent, idat=50)
    for size in (1, 1), (2, 5), (5, 2):
        png("interlaced-%dx%d.png" % size, photo(size, 3, 8), 2, 8, True)
    png("short-palette.png", photo((29, 17), 1, 8), 3, 8, False, bytes(range(90)))
    part = np.array(COFFEE)[:60, :80].astype(np.int64)
    for level in 0, 1, 9:
        png("level-%d.png" % level, part, 2, 8, level=level)
    for strategy in zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED:
        png("strategy-%d.png" % strategy, part, 2, 8, strategy=strategy)
    png("black.png", np.zeros((300, 400, 3), int), 2, 8)
    # Lengths of up to 15 bits: bytes of very different frequency.
    skewed = np.minimum(np.random.RandomState(0).geometric(0.02, (120, 120, 3)), 255)
    png("long-codes.png", skewed, 2, 8, strategy=zlib.Z_HUFFMAN_ONLY)


def webps():
    save("photo.webp", ASTRONAUT, quality=80)
    for quality in 0, 40, 100:
        save("quality-%d.webp" % quality, SMALL, quality=quality)
    save("lossless.webp", SMALL, lossless=True)
    save("lossless-palette.webp", SMALL.convert("P", palette=Image.ADAPTIVE, colors=12).convert("RGB"), lossless=True)
    alpha = SMALL.copy()
    alpha.putalpha(ASTRONAUT.convert("L").resize(SMALL.size))
    save("alpha.webp", alpha, quality=75)
    save("alpha-exact.webp", alpha, quality=75, exact=True)
    save("lossless-alpha.webp", alpha, lossless=True)
    save("exif.webp", SMALL, quality=50, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0")
    cwebp("segments.webp", SMALL, "-segments", "4", "-sns", "100", "-q", "20")
    cwebp("simple-filter.webp", SMALL, "-f", "60", "-nostrong", "-q", "30")
    cwebp("sharp-filter.webp", SMALL, "-f", "100", "-sharpness", "7", "-q", "10")
    for size in (1, 1), (1, 2), (2, 1), (3, 3), (4, 5), (17, 16):
        save("%dx%d.webp" % size, COFFEE.resize(size), quality=90)


def version(*command):
    out = subprocess.run(command, capture_output=True, text=True)
    return (out.stdout + out.stderr).splitlines()[0]


def half_levels():
    """SHA-256 of the bytes that all finite float16 values become, in the order
    of their bits, 0 for the others: numpy rounds products as torch does."""
    v = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        levels = (v * np.float16(255)).round().clip(0, 255)
    levels = np.where(np.isfinite(v), levels, 0).astype(np.uint8)
    return hashlib.sha256(levels.tobytes()).hexdigest()


def resizes():
    """SHA-256 of Pillow's bicubic resizes of level-9.png to odd sizes."""
    image = Image.open(OUT / "level-9.png")
    sizes = (1, 1), (3, 200), (79, 60), (80, 61), (160, 7), (5, 60), (80, 3), (81, 59), (640, 480), (7, 5)
    return [{"size": size, "sha256": hashlib.sha256(image.resize(size, Image.BICUBIC).tobytes()).hexdigest()} for size in sizes]


OUT.mkdir(exist_ok=True)
for old in OUT.iterdir():
    old.unlink()
jpegs()
pngs()
webps()
entries = {}
for path in sorted(OUT.iterdir()):
    image = Image.open(path).convert("RGB")
    entries[path.name] = {"width": image.width, "height": image.height, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
(OUT / "expected.json").write_text(json.dumps({
    "versions": {"pillow": PIL.__version__, "libjpeg-turbo": features.version("libjpeg_turbo"), "libwebp": features.version("webp"),
                 "numpy": np.__version__, "cjpeg": version("cjpeg", "-version"), "cwebp": version("cwebp", "-version")},
    "resizes_of_level_9_png": resizes(),
    "float16_levels_sha256": half_levels(),
    "files": entries}, indent=1) + "\n")
