"""Installs and starts the real parts: llama.cpp's server, the Ollama stand-in, and the SDK clients.

Everything is kept in the tests' cache folder. `Unavailable` says why a part cannot be had here.
"""
import ctypes
import os
import signal
import subprocess
import sys
import threading

SMOKE = {"openai": "openai_smoke.py", "ollama": "ollama_smoke.py"}
HERE = os.path.dirname(os.path.abspath(__file__))


class Unavailable(Exception):
    pass


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/tmp", ".cache")
    folder = os.environ.get("AI_GATEWAY_TESTS_CACHE") or os.path.join(base, "ai-gateway-tests")
    os.makedirs(os.path.join(folder, "models"), exist_ok=True)
    return folder


def environment(name):
    """The Python of a virtual environment made from requirements-NAME.txt, installed if needed."""
    folder, wanted = os.path.join(cache(), name), os.path.join(HERE, f"requirements-{name}.txt")
    stamp, python = os.path.join(folder, "installed.txt"), os.path.join(folder, "bin", "python")
    with open(wanted) as file:
        text = file.read()
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == text:
                return python
    steps = ([sys.executable, "-m", "venv", "--clear", folder],
             [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted])
    for command in steps:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise Unavailable(f"cannot install {text.split()}: {(done.stderr or done.stdout).strip()[-400:]}")
    with open(stamp, "w") as file:
        file.write(text)
    return python


def model(name="tiny", *arguments):
    """The path of NAME.gguf, made when missing (deterministic)."""
    path = os.path.join(cache(), "models", name + ".gguf")
    if not os.path.exists(path):
        subprocess.run([sys.executable, os.path.join(HERE, "make_tiny_gguf.py"), *arguments, path + ".part"], check=True, timeout=120)
        os.rename(path + ".part", path)
    return path


class Server:
    """A child that prints `listening URL`; ended by its own pid, and with this process."""

    def __init__(self, command, environment=None):
        def die_with_parent():
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent, env={**os.environ, **(environment or {}), "PYTHONDONTWRITEBYTECODE": "1"})
        self.errors = []
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True).start()
        line = self.process.stdout.readline()
        if not line.startswith("listening"):
            self.process.kill()
            raise Unavailable(f"{command[1]} did not start: {''.join(self.errors)[-600:]}")
        self.url = line.split()[1]
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))
        threading.Thread(target=lambda: self.process.stdout.read(), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def endpoint(self):
        return {"address": "127.0.0.1", "port": self.port}


def llama(port, name="tiny", *flags):
    """llama.cpp's own server with the tiny model (`slow` for about 20 ms a token)."""
    path = model("slow", "--width", "1024", "--layers", "8") if name == "slow" else model()
    return Server([environment("server"), os.path.join(HERE, "llama_server.py"), "-m", path, "--alias", name, "--port", str(port), *flags])


def ollama(port, *flags):
    """The Ollama stand-in, with real llama.cpp children and the models `tiny` and `other`."""
    folder = os.path.join(cache(), "ollama")
    os.makedirs(folder, exist_ok=True)
    for name, seed in (("tiny", "1"), ("other", "2")):
        path, link = model(name, "--name", name, "--seed", seed), os.path.join(folder, name + ".gguf")
        if not os.path.lexists(link):
            os.symlink(path, link)
    return Server([environment("server"), os.path.join(HERE, "ollama_server.py"), "--models", folder, "--port", str(port), *flags])


def smoke(kind, url, name="tiny", ca=None):
    """Runs an SDK's checks against a base URL: (exit code, output)."""
    python = environment("clients")
    extra = {"SSL_CERT_FILE": ca} if ca else {}
    done = subprocess.run([python, os.path.join(HERE, "clients", SMOKE[kind]), url, name], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, env={**os.environ, **extra, "PYTHONDONTWRITEBYTECODE": "1"})
    return done.returncode, done.stdout + done.stderr
