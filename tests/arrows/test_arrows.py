"""Holds the tree to its arrows, and proves that the check can fail."""

import pathlib

import pytest

from arrows import CORES, check_source, check_tree

ROOT = pathlib.Path(__file__).resolve().parents[2]

WRONG = [
    ("base/x.h", '#include "index/record.h"'),
    ("index/x.cc", '#include "fetch/piece.h"'),
    ("index/lan/x.cc", '#include "fetch/transport/tls.h"'),
    ("fetch/x.h", '#include "registry-proxy/names.h"'),
    ("registry-proxy/http/x.cc", '#include "agent/config.h"'),
    ("index/x.cc", '#include "index/lmdb/env.h"'),
    ("fetch/x.cc", '#include "fetch/store/file.h"'),
    ("fetch/x.cc", '#include "piece.h"'),
    ("fetch/x.cc", "#include <sys/socket.h>"),
    ("fetch/x.cc", "#  include <thread>"),
    ("index/x.h", "#include <mutex>"),
    ("index/x.cc", "#include <fstream>"),
    ("index/x.cc", "#include <random>"),
    ("base/x.cc", "#include <boost/asio.hpp>"),
    ("base/rng.cc", 'std::fprintf(stderr, "no");'),
    ("registry-proxy/x.cc", "#include <curl/curl.h>"),
    ("registry-proxy/x.cc", "#include <openssl/ssl.h>"),
    ("fetch/x.cc", "auto t = std::chrono::steady_clock::now();"),
    ("fetch/x.cc", "auto t = Clock::now ();"),
    ("index/x.cc", "long t = time(nullptr);"),
    ("index/x.cc", "std::random_device seed;"),
    ("index/x.cc", "const char* home = getenv(\"HOME\");"),
]

RIGHT = [
    ("agent/main.cc", '#include "registry-proxy/http/mirror.h"'),
    ("agent/main.cc", "#include <thread>"),
    ("registry-proxy/x.cc", '#include "fetch/download.h"'),
    ("fetch/x.cc", '#include "index/record.h"'),
    ("fetch/x.cc", "#include <openssl/sha.h>"),
    ("fetch/x.cc", "#include <chrono>"),
    ("base/units.cc", 'std::snprintf(text, sizeof text, "%d", 1);'),
    ("fetch/transport/x.cc", "#include <sys/socket.h>"),
    ("fetch/transport/x.cc", "auto t = std::chrono::steady_clock::now();"),
    ("index/lan/x.cc", '#include "index/lmdb/env.h"'),
    ("fetch/x.cc", "// never calls steady_clock::now() itself"),
    ("fetch/x.cc", "Time now = Elapsed(now, start_time(0));"),
]


@pytest.mark.parametrize("path, text", WRONG)
def test_refuses(path, text):
    complaints = check_source(path, "#pragma once\n" + text + "\n")
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{path}:2: ")


@pytest.mark.parametrize("path, text", RIGHT)
def test_allows(path, text):
    assert check_source(path, text + "\n") == []


def test_finds_a_wrong_file_in_a_tree(tmp_path):
    (tmp_path / "index" / "lan").mkdir(parents=True)
    (tmp_path / "index" / "lan" / "good.cc").write_text("#include <sys/socket.h>\n")
    (tmp_path / "index" / "bad.h").write_text("#include <sys/socket.h>\n")
    files, complaints = check_tree(tmp_path)
    assert files == 2
    assert [line.split(":")[0] for line in complaints] == ["index/bad.h"]


def test_the_tree_keeps_to_its_arrows():
    files, complaints = check_tree(ROOT)
    assert complaints == []
    for core in CORES[:3]:
        assert any((ROOT / core).glob("*.h")), f"no headers in {core}/: was the folder renamed?"
    assert files > 20
