"""Measure `mspn batch`: its speed, and that nothing is lost or doubled where processes are killed or servers fail.

Run: python -m benchmarks.batch OUT --images FOLDER speed|actors|driver|nodes|s3|errors [--number 100] [--rounds 10]

speed: images a second of `mspn predict` and `mspn batch` with as many cores each, after start-up, the rows of both, and
    the memory of the driver.
actors, driver: SIGKILL to a random actor, or to the driver and all of its Ray, at random moments, then --resume.
nodes: two Ray nodes on the loopback interface; one is killed in the middle.
s3: source and destination on moto (in an environment of its own), behind a proxy that fails every tenth request;
    then a bucket that is empty, none, no server, and wrong keys.
errors: a hundred damaged files among the images, a destination with other things, and (for root) a full disk.
"""

import argparse
import http.client
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from pyarrow import fs, parquet

_MOTO = "moto[server]==5.2.5"
_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_ACTOR = "ray::MapWorker"
_SECONDS = 1800
_NUM_DAMAGED = 100
_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_EC2_METADATA_DISABLED": "true"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("what", choices=("speed", "actors", "driver", "nodes", "s3", "errors"))
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", default="mspn-tiny")
    parser.add_argument("--cores", type=int, default=1, help="of speed")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    photos = options.out / "photos"
    photos.mkdir(parents=True)
    originals = sorted(path.resolve() for path in options.images.iterdir())
    for index in range(options.number):
        (photos / f"{index:06}.jpg").symlink_to(originals[index % len(originals)])
    rng = random.Random(0)
    if options.what == "speed":
        _compare_speed(options.out, photos, options.model, options.cores)
    elif options.what == "nodes":
        _kill_node(options.out, photos, options.model)
    elif options.what == "s3":
        _use_s3(options.out, photos, options.model)
    elif options.what == "errors":
        _make_errors(options.out, photos, options.model)
    else:
        for number in range(options.rounds):
            _kill(options.what, options.out / str(number), photos, options.model, rng)


def _command(photos: object, out: object, model: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "mspn", "batch", str(photos), "--out", str(out), "--model", model, *more]


def _run(command: Sequence[str], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def _check_rows(poses: str, expected: int, files: fs.FileSystem | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(poses, filesystem=files).to_pylist()
    counts = Counter(row["source"] for row in rows)
    doubled = sum(number > 1 for number in counts.values())
    verdict = "complete" if len(counts) == expected and not doubled else "WRONG"
    print(f"{verdict}: {len(counts)} of {expected} images, {doubled} doubled", flush=True)
    return rows


def _compare_speed(out: Path, photos: Path, model: str, cores: int) -> None:
    threads = {"OMP_NUM_THREADS": str(cores)}
    names = sorted(map(str, photos.iterdir()))

    def predict(*sources: str) -> tuple[float, float]:
        """Seconds by the clock, and of processor time."""
        command = [sys.executable, "-m", "mspn", "predict", *sources, "--save", "jsonl", "--model", model]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        _run([*command, "--out", str(out / f"predict-{len(sources)}")], **threads)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    few = len(names) // 10
    further = len(names) - few
    seconds, core_seconds = np.subtract(predict(*names), predict(*names[:few]))
    print(f"predict: {further / seconds:.2f} images/s; {core_seconds / further * 1000:.0f} ms of a core an image")
    memory = _run_and_watch_memory(_command(photos, out / "b", model, "--actors", str(cores)))
    summary = json.loads((out / "b/summary.json").read_text())
    rate = summary["images"] / summary["seconds_predicting"]
    core_ms = summary["core_seconds"] / summary["images"] * 1000
    print(f"batch: {rate:.2f} images/s, {rate / further * seconds:.2f} of predict; {core_ms:.0f} ms of a core an image")
    print("driver, MB at tenths of its time:", *memory)
    rows = {row["source"]: row for row in _check_rows(str(out / "b/poses"), len(list(photos.iterdir())))}
    furthest = 0.0
    for line in (out / f"predict-{len(names)}/predictions.jsonl").read_text().splitlines():
        image = json.loads(line)
        people = rows[image["source"]]["people"]
        assert len(people) == len(image["people"]), image["source"]
        for person, expected in zip(people, image["people"], strict=True):
            for keypoint in person["keypoints"]:
                x, y, _ = expected["keypoints"][keypoint["name"]]
                furthest = max(furthest, abs(keypoint["x"] - x), abs(keypoint["y"] - y))
    print(f"keypoints differ by {furthest:.2f} px at most")


def _run_and_watch_memory(command: Sequence[str]) -> list[int]:
    """Resident memory of the process in MB at each tenth of its time."""
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    seen = []
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        seen += [int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")]
        time.sleep(0.5)
    return [seen[len(seen) * tenth // 10] for tenth in range(10)] + seen[-1:]


def _kill(what: str, out: Path, photos: Path, model: str, rng: random.Random) -> None:
    command = _command(photos, out, model, "--actors", "2", "--resume")
    environment = {**os.environ, **_LOCAL}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list((out / "poses").glob("*.parquet")):
        time.sleep(0.2)  # until there is something to lose
    time.sleep(rng.uniform(0, 5))
    if what == "driver":
        process.kill()
    else:
        for pid in rng.sample(actors, 1) if (actors := _processes(_ACTOR)) else []:
            os.kill(pid, signal.SIGKILL)
    process.wait(_SECONDS)
    print(f"{what} killed, ended with {process.returncode};", end=" ", flush=True)
    if process.returncode:
        _run(command)
    _check_rows(str(out / "poses"), len(list(photos.iterdir())))


def _processes(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and (folder / "cmdline").read_text().startswith(name):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def _kill_node(out: Path, photos: Path, model: str) -> None:
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "2", "--disable-usage-stats"]
    own = {"RAY_worker_niceness": "0", "RAY_TMPDIR": "/tmp", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
    environment = {**os.environ, **own}
    with ExitStack() as stack:

        def start(*options: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*ray, *options],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(_end_group, process)
            return process

        start("--head", "--node-ip-address", "127.0.0.2", "--port", "6380", "--include-dashboard", "false")
        time.sleep(20)
        second = start("--address", "127.0.0.2:6380", "--node-ip-address", "127.0.0.3")
        time.sleep(20)
        if second.poll() is not None:
            raise SystemExit("the nodes of Ray do not start; is another Ray running here?")
        command = _command(photos, out / "b", model, "--address", "127.0.0.2:6380", "--actors", "2")
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not list((out / "b/poses").glob("*.parquet")):
            time.sleep(0.2)
        _end_group(second)
        print("one of two nodes killed;", end=" ", flush=True)
        _, errors = process.communicate(timeout=_SECONDS)
        print(f"ended with {process.returncode}; {errors[-300:]}", flush=True)
    _check_rows(str(out / "b/poses"), len(list(photos.iterdir())))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _use_s3(out: Path, photos: Path, model: str) -> None:
    python = out / "moto/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(out / "moto")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", _MOTO], check=True, timeout=_SECONDS)
    server = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", "15500"]
    with ExitStack() as stack:
        moto = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(moto.kill)
        os.environ |= _KEYS
        straight = fs.S3FileSystem(endpoint_override="127.0.0.1:15500", scheme="http", allow_bucket_creation=True)
        for _ in range(60):
            try:
                straight.create_dir("photos")
                straight.create_dir("poses")
                break
            except OSError:
                time.sleep(1)
        for path in photos.iterdir():
            with straight.open_output_stream(f"photos/in/{path.name}") as file:
                file.write(path.read_bytes())
        proxy = stack.enter_context(_failing_proxy(15500, every=10))
        options = f"?endpoint_override=127.0.0.1:{proxy}&scheme=http&region=us-east-1"
        command = _command(f"s3://photos/in{options}", f"s3://poses/run{options}", model, "--actors", "1")
        print(_run(command).splitlines()[0])
        _check_rows("poses/run/poses", len(list(photos.iterdir())), straight)
        # From its first request on, it asks for keys that somebody was given.
        strict = subprocess.Popen(
            [*server[:-1], "15501"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "0"},
        )
        stack.callback(strict.kill)
        time.sleep(10)
        for name, source in (
            ("empty", f"s3://photos/nothing{options}"),
            ("no bucket", f"s3://gone/in{options}"),
            ("no server", "s3://photos/in?endpoint_override=127.0.0.1:9&scheme=http"),
            ("wrong keys", "s3://photos/in?endpoint_override=127.0.0.1:15501&scheme=http&region=us-east-1"),
        ):
            _show_refusal(name, _command(source, out / "refused", model))
        target = "s3://poses/run?endpoint_override=127.0.0.1:15501&scheme=http&region=us-east-1"
        _show_refusal("wrong keys of the destination", _command(photos, target, model))


def _show_refusal(name: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    print(f"{name}: {done.returncode}, {done.stderr.strip()[-600:]}", flush=True)


def _make_errors(out: Path, photos: Path, model: str) -> None:
    good = sorted(photos.iterdir())
    for number in range(_NUM_DAMAGED):
        content = good[number % len(good)].read_bytes()
        damaged = (
            content[: len(content) // 2],
            content[:-2],
            b"",
            b"no image",
            bytes(64) + content[64:],
            content[:200] + bytes(len(content) - 200),
        )
        (photos / f"damaged-{number:03}.jpg").write_bytes(damaged[number % len(damaged)])
    command = _command(photos, out / "b", model, "--actors", "1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    rows = _check_rows(str(out / "b/poses"), len(good) + _NUM_DAMAGED)
    with_problems = {row["source"] for row in rows if row["problems"]}
    named = {str(path) for path in photos.iterdir() if path.name.startswith("damaged")}
    print(f"exit {done.returncode}; {len(with_problems & named)} damaged files and {len(with_problems - named)} others")
    print(f"have problems; {done.stderr.count('skipped: ')} lines, such as:", *done.stderr.splitlines()[:3], sep="\n")
    other = out / "other"
    other.mkdir()
    (other / "poses").write_text("a file of somebody")
    _show_refusal("other things", _command(photos, other, model))
    full = out / "full"
    full.mkdir()
    if os.geteuid():
        print("full disk: only root can mount one")
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)], check=True)
    try:
        _show_refusal("full disk", _command(photos, full, model, "--actors", "1"))
    finally:
        subprocess.run(["umount", str(full)], check=True)


@contextmanager
def _failing_proxy(port: int, every: int) -> Iterator[int]:
    """The port of a server that passes requests on, and answers each tenth, or so, by 503."""
    numbers = count(1)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._read_body()
            if next(numbers) % every == 0:
                self._answer(503, [], b"")
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            response = connection.getresponse()
            self._answer(response.status, response.getheaders(), response.read())
            connection.close()

        def _read_body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # what follows the last chunk
            return body

        def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            length = [value for name, value in headers if name.lower() == "content-length"]
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length[0] if self.command == "HEAD" and length else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


if __name__ == "__main__":
    main()
