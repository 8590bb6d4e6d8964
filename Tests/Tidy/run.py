#!/usr/bin/env python3
"""Reads the sources and fails on what a reviewer should not have to look for.

Fails on: imports that the module graph does not have, `unsafe` outside its fence, banned calls, dead files, and broken
links in READMEs. Prints, without failing, functions and files that are long. Ends `N passed, N failed`.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

# What each module may import of our own modules and of C libraries. Down the levels only, never sideways.
ALLOWED = {
    "Kernel": {"CLinux"},
    "HTTP": set(),
    "TLS": {"COpenSSL", "Kernel"},
    "Routing": {"HTTP", "CPCRE2"},
    "HTTPCodec": {"HTTP", "Kernel", "CNGHTTP2"},
    "Inference": {"HTTP", "Kernel", "CZlib", "CZstd"},
    "Telemetry": {"Kernel"},
    "Protocols": {"HTTP"},
    "Runtime": {"Kernel", "HTTP", "TLS", "Routing", "Inference", "Telemetry"},
    "Proxy": {
        "Kernel", "HTTP", "HTTPCodec", "TLS", "Routing", "Inference", "Telemetry", "Protocols", "Runtime"},
    "Peer": {"Kernel", "HTTP", "HTTPCodec", "TLS"},
    "Control": {"Kernel", "HTTP", "TLS", "Routing", "Inference", "Telemetry", "Runtime", "Peer", "CAres"},
    "PickerService": {"Kernel", "HTTP", "HTTPCodec", "Inference", "Protocols", "Runtime"},
    "ai-gateway": {"Kernel", "Runtime", "Proxy", "PickerService", "Control", "Peer", "Telemetry"},
    "Simulator": {"Kernel", "HTTP", "Peer"},
    "model-simulator": {"Kernel", "HTTP", "Peer", "Simulator"},
}
# Packages and parts of the toolchain, and who may import them.
OUTSIDE = {
    "BasicContainers": set(ALLOWED),
    "Synchronization": set(ALLOWED),
    "Glibc": {"Kernel", "TLS", "ai-gateway", "model-simulator"},
    "Foundation": {"Control", "ai-gateway", "model-simulator"},
    "Yams": {"Control"},
    "Logging": {"Control", "ai-gateway"},
    "ArgumentParser": {"ai-gateway", "model-simulator"},
}
# One file each wraps a C library outside Kernel and TLS; the word `unsafe` is allowed in it.
WRAPPERS_OF = {"CPCRE2", "CAres", "CZlib", "CZstd"}
FENCE = ("Sources/Kernel/", "Sources/TLS/", "Sources/HTTPCodec/Library/", "Sources/HTTP/ByteScan.swift", "Sources/HTTP/Messages/HeadStorage.swift")

BANNED = [  # (pattern, where it is allowed, what to use)
    (r"\bMutex\s*[<(]", (), "Kernel.Lock: the thread sanitizer reports races in correct Mutex code"),
    (r"(?<![.\w])print\s*\(", ("Sources/ai-gateway/", "Sources/model-simulator/"), "the log, or a return value"),
    (r"\bNSLock\b|\bDispatchQueue\b|\bDispatchSemaphore\b", (), "Kernel.Lock, Kernel.Thread and mailboxes"),
    (r"@unchecked\s+Sendable", ("Sources/Kernel/",), "a Kernel type that is Sendable"),
    (r"\bTODO\b|\bFIXME\b|\bXXX\b", (), "an issue"),
]

IMPORT = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
                    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)", re.M)

passed, failures, notes = 0, [], []


def check(name, problems):
    global passed
    if problems:
        failures.append(name)
        print(f"FAIL {name}")
        for problem in problems[:40]:
            print(f"     {problem}")
        if len(problems) > 40:
            print(f"     … and {len(problems) - 40} more")
    else:
        passed += 1
        print(f"ok   {name}")


def files():
    """Every file of the working tree that git knows or would add."""
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if done.returncode == 0:
        names = done.stdout.splitlines()
    else:
        names = [os.path.relpath(os.path.join(d, f), ROOT) for d, dirs, fs in os.walk(ROOT) for f in fs
                 if not any(p.startswith(".build") or p == ".git" for p in os.path.relpath(d, ROOT).split(os.sep))]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(ROOT, n)))


def read(name):
    with open(os.path.join(ROOT, name), errors="replace") as file:
        return file.read()


def code(text):
    """The text with comments and the contents of strings blanked, line by line the same."""
    out, at, depth = [], 0, 0
    token = re.compile(r'/\*|\*/|//|"""|"|\n')
    while at < len(text):
        if depth:
            match = re.compile(r"/\*|\*/|\n").search(text, at)
            if not match:
                break
            at = match.end()
            depth += {"/*": 1, "*/": -1}.get(match.group(), 0)
            if match.group() == "\n":
                out.append("\n")
            continue
        match = token.search(text, at)
        if not match:
            out.append(text[at:])
            break
        out.append(text[at:match.start()])
        at, what = match.end(), match.group()
        if what == "\n":
            out.append("\n")
        elif what == "/*":
            depth = 1
        elif what == "//":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif what in ('"""', '"'):
            end = at
            while True:
                end = text.find(what, end)
                if end < 0:
                    end = len(text)
                    break
                back = 0
                while text[end - 1 - back] == "\\":
                    back += 1
                if back % 2 == 0:
                    break
                end += 1
            out.append('""' + "\n" * text.count("\n", at, end))
            at = min(len(text), end + len(what))
    return "".join(out)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def imports(swift):
    problems = []
    for name, text in swift.items():
        if not name.startswith("Sources/"):
            continue
        module = name.split("/")[1]
        for match in IMPORT.finditer(text):
            target = match.group(1)
            if target in ("Swift", "_Concurrency"):
                continue
            allowed = target in ALLOWED.get(module, set()) or module in OUTSIDE.get(target, set())
            if not allowed:
                problems.append(f"{name}:{line_of(text, match.start())}: {module} may not import {target}")
    return problems


def package():
    """Package.swift says no more than the table allows, and its targets are the folders."""
    text, problems = read("Package.swift"), []
    names = set()
    for match in re.finditer(r'(?:target|program)\(\s*"([\w-]+)",\s*\[(.*?)\]\)', text, re.S):
        module, listed = match.group(1), match.group(2)
        names.add(module)
        if module not in ALLOWED:
            problems.append(f"Package.swift: target {module} is not in the table of Tests/Tidy/run.py")
            continue
        for dependency in re.findall(r'(?<![\w:] )(?<!name: )"([\w-]+)"', re.sub(r"\.product\([^)]*\)", "", listed)):
            if dependency not in ALLOWED[module] and module not in OUTSIDE.get(dependency, set()):
                problems.append(f"Package.swift: {module} depends on {dependency}, which the table does not allow")
    names |= set(re.findall(r'\.systemLibrary\(\s*name: "(\w+)"', text))
    folders = {d for d in os.listdir(os.path.join(ROOT, "Sources")) if os.path.isdir(os.path.join(ROOT, "Sources", d))}
    problems += [f"Sources/{d} is no target of Package.swift" for d in sorted(folders - names)]
    problems += [f"target {n} has no folder in Sources" for n in sorted(names - folders)]
    tests = set(re.findall(r'tests\("(\w+)"', text))
    have = {d for d in os.listdir(os.path.join(ROOT, "Tests")) if d.endswith("Tests")}
    problems += [f"Tests/{d} is no target of Package.swift" for d in sorted(have - tests)]
    return problems


def fence(swift, stripped):
    problems, uncommented = [], 0
    wrappers = {}
    for name, text in swift.items():
        if name.startswith("Sources/"):
            for target in IMPORT.findall(text):
                if target in WRAPPERS_OF:
                    wrappers.setdefault(target, []).append(name)
    for target, names in wrappers.items():
        unsafe = [n for n in names if re.search(r"\bunsafe\b", stripped[n])]
        if len(unsafe) > 1:
            problems.append(f"{target} is wrapped in more than one file: {', '.join(unsafe)}")
    allowed = FENCE + tuple(n for names in wrappers.values() for n in names)
    for name, text in stripped.items():
        if not name.startswith("Sources/"):
            continue
        lines = text.split("\n")
        original = swift[name].split("\n")
        for number, line in enumerate(lines):
            if not re.search(r"\bunsafe\b|\bUnsafe\w*|@unsafe\b|\bUnmanaged\b|\bunsafeBitCast\b", line):
                continue
            if not name.startswith(allowed):
                problems.append(f"{name}:{number + 1}: {line.strip()[:80]}")
            elif re.search(r"\bunsafe\b", line) and not any("//" in l for l in original[max(0, number - 8):number + 1]):
                uncommented += 1
    if uncommented:
        notes.append(f"{uncommented} uses of `unsafe` inside the fence have no comment within the eight lines above")
    return problems


def banned(swift, stripped):
    problems = []
    for name in swift:
        if not name.startswith("Sources/"):
            continue
        for pattern, allowed, instead in BANNED:
            if allowed and name.startswith(allowed):
                continue
            text = swift[name] if "TODO" in pattern else stripped[name]
            for match in re.finditer(pattern, text):
                problems.append(f"{name}:{line_of(text, match.start())}: {match.group().strip()}: use {instead}")
    return problems


def dead(names, swift, stripped):
    problems = []
    for name in swift:
        if os.path.basename(name).startswith("Placeholder"):
            folder = os.path.dirname(name)
            problems.append(f"{name}: a placeholder" + (" beside real files" if sum(n.startswith(folder + "/") for n in swift) > 1 else ""))
        elif name.startswith(("Sources/", "Tests/")) and not re.search(
                r"\b(struct|class|enum|protocol|extension|func|var|let|typealias|macro)\b|@main|\w\(", stripped[name]):
            problems.append(f"{name}: declares nothing")
    python = [n for n in names if n.startswith("Tests/") and n.endswith(".py")]
    corpus = {n: read(n) for n in names if n.startswith(("Tests/", ".ci/", "bench/", "routes/")) and os.path.splitext(n)[1] in (".py", ".sh", "", ".md")}
    for name in python:
        module = os.path.splitext(os.path.basename(name))[0]
        if module in ("__init__", "run", "conftest") or module.startswith("test_"):
            continue
        if not any(re.search(rf"\b{module}\b", text) for other, text in corpus.items() if other != name):
            problems.append(f"{name}: nothing imports or starts it")
    for name in names:
        if re.search(r"(\.orig|\.rej|\.bak|~|\.swp|\.DS_Store)$", name):
            problems.append(f"{name}: a left-over")
        if not re.search(r"(^|/)(corpus|Corpus|crashes|regressions|seeds)/", name, re.I) and not name.endswith((".png", ".pb", ".gguf")):
            with open(os.path.join(ROOT, name), "rb") as file:
                if b"\0" in file.read(4096):
                    problems.append(f"{name}: a binary file")
    return problems


def anchors(text):
    out = set()
    for heading in re.findall(r"^#+\s+(.*)$", text, re.M):
        plain = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        out.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return out


def links(names):
    problems = []
    for name in names:
        if not name.endswith(".md"):
            continue
        text = re.sub(r"```.*?```", "", read(name), flags=re.S)
        for match in re.finditer(r"\]\(([^)\s]+)\)", text):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            full = os.path.join(ROOT, file)
            if not os.path.exists(full):
                problems.append(f"{name}: no {target}")
            elif anchor and full.endswith(".md") and anchor not in anchors(read(file)):
                problems.append(f"{name}: no heading #{anchor} in {file}")
    return problems


def sizes(swift, stripped):
    """Long files and functions: told, not judged."""
    for name, text in sorted(swift.items()):
        if not name.startswith("Sources/"):
            continue
        lines = stripped[name].split("\n")
        if len(lines) > 420:
            notes.append(f"{name}: {len(lines)} lines")
        depth, open_functions = 0, []
        for number, line in enumerate(lines, 1):
            if re.search(r"\b(func\s+[\w`]|init[?!]?\s*[(<]|deinit\b)", line) and not line.strip().startswith("."):
                open_functions.append([number, depth, line.strip()[:50], False])
            for character in line:
                if character == "{":
                    depth += 1
                    for f in open_functions:
                        f[3] = True
                elif character == "}":
                    depth -= 1
                    while open_functions and open_functions[-1][3] and depth <= open_functions[-1][1]:
                        begin, _, title, _ = open_functions.pop()
                        if number - begin > 70:
                            notes.append(f"{name}:{begin}: {number - begin + 1} lines: {title}")


def widths(swift):
    over = [(n, i) for n, text in swift.items() for i, line in enumerate(text.split("\n"), 1) if len(line) > 100 and n.startswith("Sources/")]
    if over:
        notes.append(f"{len(over)} lines are wider than 100 columns, e.g. {over[0][0]}:{over[0][1]}")


def main():
    names = files()
    swift = {n: read(n) for n in names if n.endswith(".swift") and n != "Package.swift"}
    stripped = {n: code(t) for n, t in swift.items()}
    check("imports follow the module graph", imports(swift))
    check("Package.swift follows the module graph", package())
    check("unsafe stays inside its fence", fence(swift, stripped))
    check("no banned calls", banned(swift, stripped))
    check("no dead files", dead(names, swift, stripped))
    check("links in READMEs lead somewhere", links(names))
    sizes(swift, stripped)
    widths(swift)
    for note in notes:
        print("note", note)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
