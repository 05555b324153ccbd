"""The table of speed and memory, peers side by side: ``python -m benchmarks --help``."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from .data import simulate
from .machine import ceilings, describe

PEERS = ("himalaya_kernel", "himalaya_kernel_tokens", "himalaya_ridge", "pca_ols")
ROWS = ("fit", "mapped", "trials", "subjects", "tokens", "network", "evaluate", "write", "slopes")


def run(case: str, **arguments: object) -> dict | None:
    """Run one case in a process of its own, so that peaks of memory are its own."""
    command = [sys.executable, "-m", "benchmarks.cases", case, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  {case} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def report(what: str, found: dict | None, beside: dict | None = None) -> None:
    """Print one row."""
    if found is None:
        return
    ratio = "              "
    if beside:
        wall, cpu = (found[key] / beside[key] for key in ("seconds", "cpu"))
        ratio = f"{wall:7.2f}{cpu:7.2f}"
    r = f"{found['r']:6.3f}" if "r" in found else "      "
    cells = f"{found['seconds']:9.1f} {found['cpu']:9.1f} {ratio} {found['gib']:7.2f} {r}"
    print(f"{what:44} {cells}", flush=True)


def main() -> None:
    """Parse the command line, simulate, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {ROWS}; by default all but network, which wants a GPU",
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--mapped-images", type=int, default=16540)
    parser.add_argument("--subjects", type=int, default=10, help="who each see a tenth of them")
    parser.add_argument("--channels", type=int, default=63)
    parser.add_argument("--times", type=int, default=250)
    parser.add_argument("--tokens", type=int, default=17)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--width", type=int, default=512, help="of the transformer")
    parser.add_argument("--batch", type=int, default=256, help="of its training")
    parser.add_argument("--judged", type=int, nargs=3, default=[200, 20, 8],
                        metavar=("IMAGES", "TRIALS", "DRAWS"))  # fmt: skip
    parser.add_argument("--folder", type=Path, help="for simulated data; temporary by default")
    args = parser.parse_args()
    rows = args.rows or [row for row in ROWS if row != "network"]
    print(describe())
    print(", ".join(f"{name} {value:.0f}" for name, value in ceilings().items()))
    print(f"\n{'':44} {'seconds':>9} {'CPU s':>9} {'x peer':>7}{'CPU':>7} {'GiB':>7} {'r':>6}")
    sizes = {"n_channels": args.channels, "n_times": args.times,
             "n_tokens": args.tokens, "n_features": args.features}  # fmt: skip
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        if "fit" in rows:
            for n_images in args.images:
                paths = simulate(folder, n_images, nave=4, **sizes)
                compare(f"{n_images} x {args.channels} x {args.times}", paths)
        if "mapped" in rows:
            paths = simulate(folder, args.mapped_images, nave=4, **sizes)
            what = f"fit, {args.mapped_images} images, memory-mapped"
            report(what, run("ours", paths=paths, nave=4, mapped=True))
        if "trials" in rows:
            paths = simulate(folder, args.mapped_images, n_trials=4, nave=1, **sizes)
            what = f"fit, {args.mapped_images} images x 4 trials, memory-mapped"
            report(what, run("ours", paths=paths, nave=1, mapped=True))
        if "subjects" in rows:
            for n_subjects in (args.subjects // 2, args.subjects):
                n_images = args.mapped_images // 10
                paths = simulate(folder, n_images, n_trials=n_subjects, nave=4, **sizes)
                what = f"fit, {n_subjects} subjects, {n_images} images each, memory-mapped"
                found = run("ours", paths=paths, nave=4, mapped=True, n_subjects=n_subjects)
                report(what, found)
        if "tokens" in rows:
            many = {"n_channels": 17, "n_times": 100, "n_tokens": 257 + 77, "n_features": 768}
            paths = simulate(
                folder, args.mapped_images, nave=4, n_text=77, dtype="float16", **many
            )  # fmt: skip
            what = f"fit, {args.mapped_images} images x 334 tokens, memory-mapped"
            report(what, run("ours", paths=paths, nave=4, mapped=True))
        if "network" in rows:
            found = run("network", width=args.width, batch=args.batch, **sizes) or {}
            print(", ".join(f"{k} {v:.3g}" if k != "device" else v for k, v in found.items()))
        if "evaluate" in rows:
            n_images, n_trials, n_draws = args.judged
            paths = simulate(folder, 2 * n_images, n_trials=n_trials, nave=1, **sizes)
            found = run("evaluation", paths=paths, nave=1, n_images=n_images,
                        n_trials=n_trials, n_draws=n_draws)  # fmt: skip
            report(f"evaluate, {n_images} images x {n_trials} trials, {n_draws} draws", found)
        small = {"n_channels": 17, "n_times": 100, "n_tokens": 17, "n_features": 64}
        if "write" in rows:
            paths = simulate(folder, 500, nave=1, **small)
            for n_images, part_size in ((2000, 1000), (10000, 1000), (10000, 100)):
                found = run("writing", paths=paths, nave=1, n_images=n_images, part_size=part_size)
                report(f"write {n_images} images, 17 x 100, parts of {part_size}", found)
                if found:
                    cpu = 1000 * found["cpu"] / n_images
                    print(
                        f"  {cpu:.2f} CPU s and {found['n_bytes'] / 1000:.1f} MB for 1000 images; "
                        f"opened in {found['open_cpu']:.2f} CPU s and {found['open_gib']:.2f} GiB"
                    )
        if "slopes" in rows:
            paths = simulate(folder, 500, nave=1, n_new=400, **small)
            for what, slope in (run("slopes", paths=paths, nave=1) or {}).items():
                print(f"CPU seconds grow with {what:22} to the power of {slope:.2f}")


def compare(size: str, paths: dict) -> None:
    """Print the rows of ours and of all peers on the same arrays."""
    peers = {peer: run(peer, paths=paths, nave=4) for peer in PEERS}
    beside = peers[PEERS[0]]
    found = run("ours", paths=paths, nave=4)
    report(f"{size}: mean and noise", found, beside)
    report(f"{size}: mean alone", run("our_mean", paths=paths, nave=4), beside)
    for peer, value in peers.items():
        report(f"{size}: {peer}", value, beside)
    if found and beside:
        ratio, normals = found["predict"] / beside["predict"], found["sample"] / found["normals"]
        print(
            f"{size}: predict 200 images {found['predict']:.2f} s, {ratio:.1f} x himalaya; sample "
            f"1000 draws {found['sample']:.2f} s, {normals:.1f} x numpy's normals"
        )


if __name__ == "__main__":
    main()
