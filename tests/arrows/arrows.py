"""The arrows: agent -> registry-proxy -> fetch -> index -> base, and what a core may know.

A core is the files directly in base/, index/, fetch/ and registry-proxy/. It decides, and touches
nothing: no socket, file, thread, clock or randomness of its own, and no adapter.
"""

import re

LAYERS = ["base", "index", "fetch", "registry-proxy", "agent"]
CORES = LAYERS[:-1]

# What of the standard library a core may include: what computes. A new header is not allowed until
# somebody puts it here.
STANDARD = set("""
    algorithm any array bit bitset cassert cctype cerrno charconv chrono cinttypes cmath compare
    concepts cstddef cstdint cstdio cstdlib cstring deque exception expected functional
    initializer_list iterator limits list map memory numbers numeric optional ostream queue ranges
    ratio set span sstream
    stdexcept string string_view tuple type_traits typeinfo unordered_map unordered_set utility
    variant vector version
""".split())

# Libraries that only compute: OpenSSL's crypto, fmt, and cpprestsdk's JSON values.
LIBRARIES = re.compile(r"openssl/(sha|evp|crypto|err|opensslv)\.h|fmt/.*|cpprest/json\.h")

# May print and end the process: a broken invariant.
MAY_PRINT = {"base/check.cc"}
PRINTS = re.compile(
    r"\b(f?printf|f?puts|fopen|freopen|fwrite|tmpfile|popen|system)\s*\(|\bstd(out|err)\b")

CALLS = re.compile(
    r"::now\s*\(|\b(clock_gettime|gettimeofday|getrandom|getenv|random_device|sleep_for|sleep_until"
    r"|usleep|nanosleep|thread_local)\b|\b(std::)?time\s*\(\s*(nullptr|NULL|0)\s*\)"
    r"|(?<![\w:.>])rand\s*\("
)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def is_core(path):
    parts = path.split("/")
    return len(parts) == 2 and parts[0] in CORES


def check_include(path, quoted, target):
    """What is wrong with this include, or None."""
    parts = target.split("/")
    if parts[0] in LAYERS and len(parts) > 1:
        mine, theirs = path.split("/")[0], parts[0]
        if LAYERS.index(theirs) > LAYERS.index(mine):
            return f"{mine}/ may not know {theirs}/"
        if is_core(path) and len(parts) > 2:
            return "a core may not know an adapter"
        return None
    if quoted:
        return "name it by its path from the root of the repository"
    if is_core(path) and target not in STANDARD and not LIBRARIES.fullmatch(target):
        return "a core may not touch the world; if this header only computes, allow it here"
    return None


def check_source(path, text):
    """Complaints about one file; `path` is relative to the root of the repository."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        include = INCLUDE.match(line)
        if include:
            wrong = check_include(path, include[1] == '"', include[2])
            if wrong:
                found.append(f"{path}:{number}: includes {include[2]}: {wrong}")
    if is_core(path):
        code = COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)
        for number, line in enumerate(code.splitlines(), 1):
            call = CALLS.search(line) or (path not in MAY_PRINT and PRINTS.search(line))
            if call:
                found.append(f"{path}:{number}: calls {call[0].strip()}: a core touches nothing: "
                             "it is told the time and given its randomness")
    return found


def check_tree(root):
    """(files read, complaints) of a repository."""
    files = [path for layer in LAYERS for suffix in ("h", "cc")
             for path in sorted((root / layer).rglob(f"*.{suffix}"))]
    complaints = []
    for path in files:
        complaints += check_source(path.relative_to(root).as_posix(), path.read_text())
    return len(files), complaints
