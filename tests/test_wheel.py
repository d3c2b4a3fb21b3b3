"""The wheel, in an empty environment, runs the README's first example against the server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, made from a copy, so that nothing is left behind in the tree."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    subprocess.run([*pip, "--wheel-dir", target, source], check=True)
    (built,) = target.glob("*.whl")
    return built


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "chatgpt/__init__.py",
        "chatgpt/py.typed",
        "chatgpt/core/web/send.py",
        "chatgpt/core/wire/openai.py",
        "chatgpt/vocabularies/cl100k_base.tiktoken.gz",
        "chatgpt/vocabularies/o200k_base.tiktoken.gz",
        "chatgpt_async/__init__.py",
        "chatgpt_async/py.typed",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests", "examples", "benchmarks"))]
    assert wheel.stat().st_size < 4 * 1024 * 1024


def test_the_examples_run_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The first example of the README, and with the extras the async one and the command."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

    def run(program: str, *replies: str) -> list[str]:
        answers = [word for reply in replies for word in ("--reply", reply)]
        serve = [str(python), "-P", "-m", "chatgpt.testing", *answers]
        with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            result = subprocess.run(
                [python, "-P", "-c", program],
                cwd=tmp_path,
                env={**os.environ, "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": url},
                capture_output=True,
                text=True,
                check=False,
            )
            server.terminate()
        return (result.stdout + result.stderr).splitlines()

    first, *others = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    async_one = next(example for example in others if "asyncio.run(main())" in example)

    subprocess.run([*install, str(wheel)], check=True)
    assert run(first, "A monoid.", "Mon.") == ["A monoid.", "Mon."]
    assert run("import chatgpt_async")[-1] == (
        "ImportError: chatgpt_async needs anyio and httpx2, which the extra 'async' brings: "
        "pip install 'chatgpt-sdk[async]'"
    )
    command = subprocess.run(
        [environment / "bin" / "chatgpt", "hi"], capture_output=True, text=True, check=False
    )
    assert command.returncode == 1
    assert command.stderr == (
        "chatgpt: the command needs the extra 'cli': pip install 'chatgpt-sdk[cli]' (click is missing)\n"
    )
    subprocess.run([*install, f"{wheel}[async,cli]"], check=True)
    command = subprocess.run(
        [environment / "bin" / "chatgpt", "demo"], capture_output=True, text=True, check=True
    )
    assert "You said: What is a monad?" in command.stdout
    shown = run(async_one, "A monoid.", "Mon.", "Blue.", "Blue.", "Blue.")
    assert shown == ["A monoid.", "Mon.", "Blue.", "Blue.", "Blue."]
