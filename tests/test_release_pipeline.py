"""The release pipeline of examples/: the workflow's own lines run job by job, and what stops a release."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import processes_of
from tests.tiny import SHOP
from torchtowers.data import make_shop, write_shop
from torchtowers.export.resigning import sign_archive
from torchtowers.export.signing import generate_key, read_private_key, sign_file
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.signature import sha256_of

ROOT = Path(__file__).parents[1]
SCRIPT = Path("examples/release-pipeline/release.sh")
WORKFLOW = yaml.safe_load((ROOT / SCRIPT).with_suffix(".yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
ALL = ["train", "export", "verify", "build", "lint", "reproduce", "reexport"]
ALL += ["sign", "check", "serve", "publish"]

pytestmark = [pytest.mark.java, pytest.mark.timeout(900)]


@dataclass
class Runner:
    """Where the pipeline runs: a Python of its own, an empty TMPDIR, and what a repository keeps for it.

    Args:
        folder: Below which everything is.
        printed: By step of the workflow, what it printed.
    """

    folder: Path
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A small model on data of our own, whatever this process's environment says."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RELEASE_")}
        kept.pop("PYTHONPATH", None)
        return {
            **kept,
            "PATH": f"{self.folder / 'venv' / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(self.folder / "tmp"),
            "RELEASE_CONFIG": str(self.folder / "shop" / "shop.yaml"),
            "RELEASE_OVERRIDES": "training.epochs=2 training.seed=3",
            "RELEASE_REQUEST": '{"user_id": "u00007", "k": 5, "exclude_history": true, "fields": ["title"]}',
        }

    @property
    def public_key(self) -> str:
        """The key that is trusted, in PEM."""
        return (self.folder / "release.key.pub").read_text()

    def run(self, *steps: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the script with steps."""
        return self.shell(" ".join([str(SCRIPT), *steps]), cwd, environment)

    def shell(self, line: str, cwd: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a line as a workflow does."""
        return subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def checkout(folder: Path) -> Path:
    """Make a folder that looks like a fresh checkout's."""
    folder.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for top in {line.split("/")[0] for line in listed.stdout.decode().splitlines()}:
        (folder / top).symlink_to(ROOT / top)
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner whose Python finds this environment's packages, and installs beside them."""
    folder = tmp_path_factory.mktemp("runner")
    (folder / "tmp").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    others = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (packages / "others.pth").write_text("\n".join([*others, ""]))
    write_shop(folder / "shop", make_shop(rows=3000, users=150, items=120))
    (folder / "shop" / "shop.yaml").write_text(SHOP + "training: {epochs: 9, threads: 1}\n")
    generate_key(folder / "release.key")
    yield Runner(folder)
    for left in processes_of(folder):
        left.kill()


@pytest.fixture(scope="module")
def released(runner: Runner) -> Path:
    """Run the workflow, each job in a folder of its own, and give its uploads."""
    uploads = runner.folder / "uploads"
    known = {
        "secrets.RELEASE_SIGNING_KEY": (runner.folder / "release.key").read_text(),
        "vars.RELEASE_PUBLIC_KEY": runner.public_key,
    }
    for name, job in JOBS.items():
        cwd = checkout(runner.folder / "jobs" / name)
        for step in job["steps"]:
            given = {key: str(value) for key, value in step.get("with", {}).items()}
            uses = step.get("uses", "")
            if uses.startswith("actions/upload-artifact@") and step.get("if") != "failure()":
                _upload(cwd, given["path"].split(), uploads / given["name"])
            elif uses.startswith("actions/download-artifact@"):
                shutil.copytree(uploads / given["name"], cwd / given["path"], dirs_exist_ok=True)
            elif "run" in step and not (name != "build" and step["run"].endswith(" install")):
                environment = {**WORKFLOW["env"], **job.get("env", {}), **step.get("env", {})}
                environment = {key: _filled(str(value), known) for key, value in environment.items()}
                # Where the packages come from is this machine's matter.
                del environment["PIP_EXTRA_INDEX_URL"]
                done = runner.shell(step["run"], cwd, environment)
                assert done.returncode == 0, f"{name}: {step['run']}\n{done.stdout}\n{done.stderr}"
                runner.printed[step["run"].split()[-1]] = done.stdout + done.stderr
    return uploads


def _upload(cwd: Path, paths: list[str], to: Path) -> None:
    """Upload as the action does: below the folder that all have in common, without rights and times."""
    base = Path(os.path.commonpath(paths))
    for path in paths:
        below = to / (Path(path).relative_to(base) if len(paths) > 1 else "")
        shutil.copytree(cwd / path, below, copy_function=shutil.copyfile)


def _filled(value: str, known: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda name: known[name[1]], value)


@pytest.fixture
def work(released: Path, tmp_path: Path) -> Path:
    """What the last job downloads, to be spoilt."""
    folder = tmp_path / "release"
    shutil.copytree(released / "built", folder)
    shutil.copytree(released / "signed", folder / "signed")
    return folder


def assert_stopped(done: "subprocess.CompletedProcess[str]", step: str, work: Path, runner: Runner) -> None:
    """The step failed under its name, none came after it, and no server and no temporary file is left."""
    assert done.returncode != 0, done.stdout
    lines = done.stderr.splitlines()
    assert lines[-1] == f"release.sh: step {step} failed with exit code {done.returncode}"
    assert [line for line in lines if line.startswith("== ")][-1] == f"== {step}"
    assert not (work / "published").exists()
    assert not processes_of(runner.folder)
    assert not list((runner.folder / "tmp").iterdir())


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_the_workflow_releases_what_was_built(released: Path, runner: Runner, tmp_path: Path) -> None:
    release = released / "release"
    names = {"movielens.mar", "movielens.mar.sig", "movielens.pub", "movielens.cdx.json", "SHA256SUMS"}
    assert {path.name for path in release.iterdir()} == names
    assert (release / "movielens.pub").read_text().strip() == runner.public_key.strip()
    assert not verify_archive(release / "movielens.mar", runner.folder / "release.key.pub")
    assert json.loads((release / "movielens.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    sums = dict(line.split()[::-1] for line in (release / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: sha256_of(release / name) for name in names - {"SHA256SUMS"}}
    # Signing the archive that two jobs agreed on gives what was released.
    agreed = Path(shutil.copy(released / "built" / "unsigned" / "movielens.mar", tmp_path))
    sign_archive(agreed, runner.folder / "release.key")
    assert sha256_of(agreed) == sums["movielens.mar"]


def test_the_server_answered_and_nothing_is_left(released: Path, runner: Runner) -> None:
    (answer,) = [line for line in runner.printed["serve"].splitlines() if line.startswith('{"items"')]
    assert len(json.loads(answer)["items"]) == len(json.loads(answer)["fields"]["title"]) == 5
    assert not processes_of(runner.folder)
    assert not list((runner.folder / "tmp").iterdir())


def test_the_second_builds_were_of_the_same_sha256(released: Path, runner: Runner) -> None:
    (built,) = re.findall(r"^([0-9a-f]{64}) ", runner.printed["build"], re.MULTILINE)
    for step in ("reproduce", "reexport"):
        assert re.findall(r"^([0-9a-f]{64}) ", runner.printed[step], re.MULTILINE) == [built]


def test_what_is_installed_is_what_ran(released: Path, runner: Runner) -> None:
    code = "import torchtowers.cli as package; print(package.__file__)"
    python = runner.folder / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", code], env=runner.environment, cwd=runner.folder, capture_output=True, text=True
    )
    assert Path(done.stdout.strip()).is_relative_to(runner.folder / "venv"), done.stderr


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("unsigned/movielens.mar", "the build does not reproduce"),
        ("artifact/index/embeddings.npy", "index/embeddings.npy"),
    ],
)
def test_a_byte_that_differs_stops_reproduce(work: Path, runner: Runner, file: str, said: str) -> None:
    flip(work / file, 2000)
    done = runner.run("reproduce", "publish", cwd=ROOT, RELEASE_DIR=str(work))
    assert_stopped(done, "reproduce", work, runner)
    assert said in done.stderr


@pytest.mark.parametrize("step", ["reproduce", "reexport"])
def test_another_build_than_the_first_jobs_is_told_with_what_differs(
    work: Path, runner: Runner, step: str
) -> None:
    done = runner.run(step, "publish", cwd=ROOT, RELEASE_DIR=str(work), RELEASE_VERSION="1.1")
    assert_stopped(done, step, work, runner)
    assert re.search(r"modelVersion +1\.0 +1\.1", done.stdout), done.stdout


def test_an_archive_that_changed_after_it_was_reproduced_is_not_signed(work: Path, runner: Runner) -> None:
    flip(work / "unsigned" / "movielens.mar", 50_000)
    done = runner.run("sign", cwd=ROOT, RELEASE_DIR=str(work))
    assert_stopped(done, "sign", work, runner)


@pytest.mark.parametrize("fault", ["tampered", "unsigned", "signed by another", "signed inside by another"])
def test_an_archive_that_is_not_trusted_is_not_served(work: Path, runner: Runner, fault: str) -> None:
    archive = work / "signed" / "movielens.mar"
    key = work.parent / "another.key"
    generate_key(key)
    if fault == "tampered":
        flip(archive, 50_000)
    elif fault == "unsigned":
        archive.with_name("movielens.mar.sig").unlink()
    else:
        sign_archive(archive, key)
    if fault == "signed inside by another":
        # The file passes what `serve start` checks.
        sign_file(read_private_key(runner.folder / "release.key"), archive)
    environment = {"RELEASE_DIR": str(work), "RELEASE_PUBLIC_KEY": runner.public_key}
    done = runner.run("serve", "publish", cwd=ROOT, **environment)
    assert_stopped(done, "serve", work, runner)
    said = {
        "tampered": "the signature is of another archive",
        "unsigned": "movielens.mar.sig is missing",
    }.get(fault, "which is not trusted here")
    assert said in done.stderr
    # What only the worker finds out is found by a worker, and in its log.
    assert ("starting TorchServe" in done.stderr) == (fault == "signed inside by another")
    if fault == "signed inside by another":
        assert said in (work / "server-logs" / "model_log.log").read_text()
    done = runner.run("check", "publish", cwd=ROOT, **environment)
    assert_stopped(done, "check", work, runner)


def test_a_wrong_answer_stops_the_server_too(work: Path, runner: Runner) -> None:
    environment = {"RELEASE_DIR": str(work), "RELEASE_PUBLIC_KEY": runner.public_key}
    done = runner.run(
        "serve", "publish", cwd=ROOT, RELEASE_REQUEST='{"user_id": "u00007", "k": 0}', **environment
    )
    assert_stopped(done, "serve", work, runner)
    assert "k: expected an integer from 1 to 10000, got 0" in done.stderr


def test_an_interruption_stops_the_server_too(work: Path, runner: Runner) -> None:
    environment = {"RELEASE_DIR": str(work), "RELEASE_PUBLIC_KEY": runner.public_key}
    with subprocess.Popen(
        [ROOT / SCRIPT, "serve", "publish"],
        cwd=ROOT,
        env={**runner.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("TorchServe is ready"):
                assert processes_of(runner.folder / "tmp")
                process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    assert code == 143
    done = subprocess.CompletedProcess[str]([], code, "", "".join(lines))
    assert_stopped(done, "serve", work, runner)


def test_the_first_step_that_fails_is_the_last(tmp_path: Path, runner: Runner) -> None:
    done = runner.run("all", cwd=ROOT, RELEASE_DIR=str(tmp_path), RELEASE_CONFIG="nothing.yaml")
    assert_stopped(done, "train", tmp_path, runner)
    assert "nothing.yaml" in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_process_is_told_the_private_key_and_no_file_keeps_it(work: Path, runner: Runner) -> None:
    secret = (runner.folder / "release.key").read_text()
    spy = work.parent / "bin"
    spy.mkdir()
    seen = work.parent / "seen"
    record = f"cat /proc/$$/environ /proc/$$/cmdline >> {seen}"
    script = f'#!/bin/bash\n{record}\nPATH=${{PATH#*:}} exec "${{0##*/}}" "$@"\n'
    for command in ("torchtowers", "cp", "sha256sum", "mkdir", "rm"):
        (spy / command).write_text(script)
        (spy / command).chmod(0o755)
    environment = {"RELEASE_SIGNING_KEY": secret, "RELEASE_PUBLIC_KEY": runner.public_key}
    path = f"{spy}:{runner.environment['PATH']}"
    done = runner.run("sign", "check", cwd=ROOT, RELEASE_DIR=str(work), PATH=path, **environment)
    assert done.returncode == 0, done.stderr
    body = secret.splitlines()[1]
    watched = seen.read_text()
    assert watched.count("RELEASE_DIR=") >= 5
    assert "archive\0sign\0" in watched
    assert body not in watched + done.stdout + done.stderr
    files = [path for path in work.rglob("*") if path.is_file()]
    assert not [path for path in files if body.encode() in path.read_bytes()]
    assert not list((runner.folder / "tmp").iterdir())


@pytest.mark.parametrize(("name", "step"), [("RELEASE_SIGNING_KEY", "sign"), ("RELEASE_PUBLIC_KEY", "check")])
def test_a_secret_that_is_not_set_is_told(work: Path, runner: Runner, name: str, step: str) -> None:
    """GitHub gives an empty text for a secret that a repository has not."""
    done = runner.run(step, cwd=ROOT, RELEASE_DIR=str(work), **{name: ""})
    assert_stopped(done, step, work, runner)
    assert f"{name} is empty" in done.stderr
    assert not (work / "key").exists()


def test_without_keys_one_is_made_and_kept(work: Path, runner: Runner) -> None:
    for _ in range(2):
        done = runner.run("sign", "check", cwd=ROOT, RELEASE_DIR=str(work))
        assert done.returncode == 0, done.stderr
    assert (work / "key" / "release.key").stat().st_mode & 0o777 == 0o600
    assert done.stdout.count("release.key") == 0


@pytest.mark.parametrize(
    ("arguments", "code"), [("--help", 0), ("", 2), ("train deploy", 2), ("train all", 2)]
)
def test_it_says_how_to_call_it(runner: Runner, arguments: str, code: int) -> None:
    done = runner.run(arguments, cwd=ROOT)
    assert done.returncode == code
    shown = done.stdout if code == 0 else done.stderr
    assert all(step in shown for step in ["install", *ALL])
    assert arguments in ("--help", "") or f"unknown step {arguments.split()[-1]}" in shown
    assert "build/release" in shown or code == 2
    assert not list((runner.folder / "tmp").iterdir())


@pytest.mark.slow
def test_everything_in_one_call_as_it_stands(tmp_path: Path, runner: Runner, released: Path) -> None:
    """MovieLens 100K, the server's settings and the keys by default."""
    environment = {name: value for name, value in runner.environment.items() if "RELEASE_" not in name}
    done = subprocess.run(
        [ROOT / SCRIPT, "all"],
        cwd=ROOT,
        env={**environment, "RELEASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [line[3:] for line in done.stderr.splitlines() if line.startswith("== ")] == ALL
    assert not verify_archive(
        tmp_path / "published" / "movielens.mar", tmp_path / "published" / "movielens.pub"
    )
    assert not processes_of(runner.folder)


def workflow_steps() -> list[dict[str, Any]]:
    return [step for job in JOBS.values() for step in job["steps"]]


def test_the_workflow_calls_every_step_in_order_and_nothing_else() -> None:
    lines = [step["run"] for step in workflow_steps() if "run" in step]
    called = [line.removeprefix(f"{SCRIPT} ") for line in lines]
    assert [step for step in called if step != "install"] == ALL
    for name, job in JOBS.items():
        first = next(step["run"] for step in job["steps"] if "run" in step)
        assert first == f"{SCRIPT} install", name
        assert job["timeout-minutes"] <= 60


def test_jobs_follow_each_other_on_what_the_earlier_ones_uploaded() -> None:
    uploaded: set[str] = set()
    for (name, job), before in zip(JOBS.items(), [None, *JOBS], strict=False):
        assert job.get("needs") == before, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/download-artifact"):
                assert step["with"]["name"] in uploaded
        new = [step["with"]["name"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert len(set(new)) == len(new)
        assert not uploaded & set(new)
        uploaded |= set(new)
    assert JOBS["reproduce"]["runs-on"] != JOBS["build"]["runs-on"]


def test_the_workflow_may_read_and_no_more_and_hands_the_secret_over_by_environment() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in JOBS.items() if "permissions" in job]
    for step in workflow_steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", "")
    secret = "${{ secrets.RELEASE_SIGNING_KEY }}"
    told = [(name, step) for name, job in JOBS.items() for step in job["steps"] if "secrets." in str(step)]
    ((job, step),) = told
    assert step == {"run": f"{SCRIPT} sign", "env": {"RELEASE_SIGNING_KEY": secret}}
    assert JOBS[job]["environment"] == "release"
    assert str(WORKFLOW).count("secrets.") == 1
    assert JOBS["serve"]["env"] == {"RELEASE_PUBLIC_KEY": "${{ vars.RELEASE_PUBLIC_KEY }}"}


def test_the_page_draws_the_jobs_with_their_steps() -> None:
    page = (ROOT / "docs" / "release.md").read_text()
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for name, job in JOBS.items():
        steps = [step["run"].split()[-1] for step in job["steps"] if "run" in step][1:]
        assert f'{name}["{name}: {", ".join(steps)}"]' in picture
