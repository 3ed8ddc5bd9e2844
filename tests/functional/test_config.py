"""Starting, or not starting with one sentence that says what to do; verbs and exit codes."""

import json

import pytest

from rig import faulty as fault
from rig.agent import BINARY, CONFIG, DATA
from rig.image import make_image
from rig.process import wait_until
from rig.terminal import drawn_by


def refused(agent, status, *words):
    """The agent does not start: exit `status`, and one sentence with all the words."""
    done = agent.verb("run", "--config", CONFIG, timeout=15)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("shoal: ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


@pytest.fixture(scope="module")
def idle(shared):
    """An agent that is not started; its configuration is written by each test."""
    return shared.agent("a", start=False)


@pytest.mark.parametrize("text, words", [
    ("[mirror]\nlissen = '127.0.0.1:7380'\n", ["lissen", "listen"]),
    ("[mirrors]\nlisten = '127.0.0.1:7380'\n", ["mirrors", "mirror"]),
    ("[fetch]\nstall = 'soon'\n", ["fetch.stall", "soon"]),
    ("[fetch]\nstall = 5\n", ["fetch.stall"]),
    ("[fetch]\npiece = '1000'\n", ["fetch.piece"]),
    ("[fetch]\npiece = '-1MiB'\n", ["fetch.piece"]),
    ("[store]\nmax = 'plenty'\n", ["store.max", "plenty"]),
    ("[mirror]\nlisten = 'nowhere'\n", ["mirror.listen", "nowhere"]),
    ("[mirror]\nlisten = '127.0.0.1:99999'\n", ["mirror.listen"]),
    ("[mirror]\nstream = 'fast'\n", ["mirror.stream", "fast", "proved"]),
    ("[index]\nuse = ['magic']\n", ["index.use", "magic", "lan"]),
    ("[room]\nopen = 'yes'\n", ["room.open"]),
    ("[[registry]]\nurl = 'http://x'\n", ["registry", "host"]),
    ("[[registry]]\nhost = 'reg.test'\nurl = 'ftp://x'\n", ["url"]),
    ("[mirror\n", [CONFIG]),
    ("[limits]\nupload_rate = '100 lightyears'\n", ["limits.upload_rate"]),
])
def test_a_bad_configuration(idle, text, words):
    idle.host.write(CONFIG, text)
    refused(idle, 2, *words)
    checked = idle.verb("config", "check", "--config", CONFIG)
    assert checked.returncode == 2
    assert words[0] in checked.stderr


def test_a_configuration_that_is_not_there(idle):
    done = idle.verb("run", "--config", "/etc/shoal/absent.toml")
    assert done.returncode == 2
    assert "/etc/shoal/absent.toml" in done.stderr


def test_a_configuration_that_cannot_be_read(idle):
    idle.host.path("/etc/shoal/folder.toml").mkdir(exist_ok=True)
    done = idle.verb("run", "--config", "/etc/shoal/folder.toml")
    assert done.returncode == 2
    assert "/etc/shoal/folder.toml" in done.stderr


@pytest.mark.parametrize("path", ["/etc/shoal/private.toml", "/etc/shoal/private/shoal.toml",
                                  CONFIG])
def test_a_configuration_that_another_user_owns(idle, path):
    """As an agent without root meets it: root without its powers opens no file of others."""
    file = idle.host.write(path, "[fetch]\n", 0o600)
    owned = [file] if path != "/etc/shoal/private/shoal.toml" else [file, file.parent]
    for item in owned:
        idle.host.run("chown", "65534", f"/{item.relative_to(idle.host.path('/'))}")
    if len(owned) == 2:
        idle.host.run("chmod", "700", "/etc/shoal/private")
    given = [] if path == CONFIG else ["--config", path]
    done = idle.host.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", BINARY, "run", *given,
                         check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert path in done.stderr and "Permission denied" in done.stderr
    idle.host.run("rm", path)


def test_set_and_environment_override_the_file(idle):
    idle.configure(fetch={"stall": "300ms"})
    shown = idle.verb("config", "show", "--config", CONFIG)
    assert shown.returncode == 0, shown.stderr
    assert "300ms" in shown.stdout
    assert "123ms" in idle.verb("config", "show", "--config", CONFIG, "--set",
                                "fetch.stall=123ms").stdout
    assert "321ms" in idle.host.run("env", "SHOAL_FETCH_STALL=321ms", BINARY, "config",
                                    "show", "--config", CONFIG).stdout
    assert idle.verb("config", "check", "--config", CONFIG).returncode == 0
    wrong = idle.verb("config", "check", "--config", CONFIG, "--set", "fetch.stal=1s")
    assert wrong.returncode == 2


@pytest.mark.parametrize("section, key, port", [
    ("mirror", "listen", 7380), ("peer", "listen", 7381), ("agent", "admin", 7382)])
def test_a_taken_port(rig, section, key, port):
    agent = rig.agent("a", start=False)
    taken = agent.host.listen(port)
    try:
        refused(agent, 1, str(port))
    finally:
        taken.close()
    agent.start()


def test_a_data_directory_that_cannot_be_written(rig):
    agent = rig.agent("a", start=False)
    agent.host.run("mount", "-o", "remount,bind,ro", DATA)
    refused(agent, 1, DATA)


def test_a_data_directory_that_is_a_file(rig):
    agent = rig.agent("a", start=False)
    agent.host.write("/etc/shoal/file", "")
    agent.configure(agent={"data_dir": "/etc/shoal/file"})
    refused(agent, 1, "/etc/shoal/file")


def test_two_agents_do_not_share_a_data_directory(rig):
    agent = rig.agent("a")
    done = agent.verb("run", "--config", CONFIG, "--set", "mirror.listen=127.0.0.1:17380", "--set",
                      "peer.listen=127.0.0.1:17381", "--set", "agent.admin=127.0.0.1:17382",
                      timeout=15)
    assert done.returncode == 1
    assert DATA in done.stderr


# --- verbs ---------------------------------------------------------------------------------------


def test_version_and_help(idle):
    assert idle.verb("version").stdout.strip()
    assert idle.verb("--help").returncode == 0
    for verb in ("run", "index", "status", "peers", "blobs", "images", "pulls", "who-has", "search",
                 "pull", "room", "join", "hosts", "doctor", "id", "config",
                 "version"):
        assert verb in idle.verb("--help").stdout
        assert idle.verb(verb, "--help").returncode == 0, verb


@pytest.mark.parametrize("arguments, word", [
    (["frobnicate"], '"frobnicate"'), (["sttaus"], '"status"'), (["run", "--frobnicate"],
    "--frobnicate"), (["pull"], "image"), (["who-has"], "what"), (["hosts"], "shoal hosts --help"),
    (["hosts", "instal"], '"install"'), (["status", "surplus"], "surplus"), ([], "shoal --help"),
    (["status", "--admin", "nowhere"], "--admin"), (["hosts", "install", "--mirror", 'a"b'],
    "--mirror")])
def test_wrong_usage_is_exit_2_and_one_sentence(idle, arguments, word):
    done = idle.verb(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and done.stderr.startswith("shoal: ")
    assert word in done.stderr


@pytest.mark.parametrize("arguments", [
    ["status"], ["peers"], ["blobs"], ["images"], ["pulls"], ["search", "app"], ["room", "list"],
    ["who-has", "reg.test/team/app:1"], ["status", "--admin", "127.0.0.1:7382"],
    ["pull", "reg.test/team/app:1"]])
def test_no_agent_is_exit_3(idle, arguments):
    done = idle.verb(*arguments)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "7382" in done.stderr


def test_verbs_of_a_running_agent(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a, b = rig.agent("a", [registry]), rig.agent("b", [registry])
    reference = registry.reference(image)
    layer = image.layers[1]

    pulled = a.verb("pull", reference, timeout=120)
    assert pulled.returncode == 0, pulled.stderr
    b.wait_holders(layer.digest, 1)

    status = json.loads(a.verb("status", "--json").stdout)
    assert status["id"] == a.status()["id"]
    assert a.verb("id").stdout.split()[-1] == status["id"] or status["id"] in a.verb("id").stdout
    assert json.loads(a.verb("peers", "--json").stdout)[0]["name"] == "b"
    assert "b" in a.verb("peers").stdout
    assert layer.digest in [blob["digest"] for blob in json.loads(a.verb("blobs", "--json").stdout)]
    assert json.loads(a.verb("blobs", layer.digest, "--json").stdout)["size"] == layer.size
    assert reference in a.verb("images").stdout
    for wanted in (layer.digest, reference):
        holders = b.verb("who-has", wanted)
        assert holders.returncode == 0, holders.stderr
        assert "a" in holders.stdout.split()
    table = {"status": status["id"], "peers": b.status()["id"][:12], "blobs": layer.digest,
             "images": reference, "pulls": reference}
    for verb, words in table.items():
        done = a.verb(verb)
        assert done.returncode == 0
        assert words in done.stdout, verb

    absent = a.verb("pull", f"{registry.name}/team/absent:1", timeout=120)
    assert absent.returncode == 1
    assert absent.stderr.strip()
    assert a.verb("who-has", "sha256:" + "0" * 64).returncode == 1
    assert a.verb("blobs", "sha256:" + "0" * 64).returncode == 1
    assert a.verb("blobs", "rubbish").returncode == 2
    assert a.verb("who-has", "NOT AN IMAGE").returncode == 2
    assert a.verb("pull", "NOT AN IMAGE").returncode == 2


def test_the_status_api(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a, b = rig.agent("a", [registry]), rig.agent("b", [registry])
    a.fill(registry, image)
    b.wait_holders(image.layers[1].digest, 1)
    b.fill(registry, image)
    status = b.status()
    assert set(status) >= {"id", "name", "version", "uptime_s", "index", "peers", "store", "bytes",
                           "pulls"}
    assert set(status["peers"]) >= {"known", "alive"}
    assert set(status["store"]) >= {"blobs", "bytes", "max_bytes"}
    assert set(status["bytes"]) >= {"from_peers", "from_upstream", "to_peers", "to_runtime"}
    peer, = b.peers()
    assert set(peer) >= {"id", "name", "endpoints", "rooms", "state", "last_seen", "blobs"}
    assert peer["id"] == a.status()["id"]
    blob = b.blob(image.layers[1].digest)
    assert set(blob) >= {"digest", "size", "state", "pieces", "have", "holders", "in_containerd"}
    assert blob["size"] == image.layers[1].size
    assert any(image.repository in json.dumps(entry) for entry in b.get("/v1/images"))
    assert b.get("/v1/pulls")
    page = b.get("/v1/blobs?limit=2")
    assert json.dumps(page).count("sha256:") >= 2
    for path, code in (("/v1/blobs/sha256:" + "0" * 64, 404), ("/v1/blobs/rubbish", 400),
                       ("/v1/nothing", 404), ("/v1/blobs?limit=-1", 400),
                       ("/v1/blobs?limit=frog", 400)):
        assert b.admin("GET", path).status == code, path
    assert b.admin("GET", "/healthz").status == 200
    assert b.admin("GET", "/readyz").status == 200
    for method, path in (("POST", "/v1/status"), ("DELETE", "/healthz"), ("PUT", "/v1/pulls"),
                         ("POST", "/v1/pulls/1"), ("DELETE", "/v1/rooms"), ("POST", "/")):
        assert b.admin(method, path).status == 405, (method, path)


def test_pulls_by_the_status_api(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    started = a.admin("POST", "/v1/pulls", headers={"Content-Type": "application/json"},
                      body=json.dumps({"image": registry.reference(image)}))
    assert started.status in (200, 201, 202), started
    wait_until("the pull is done", lambda: all(a.has_blob(blob.digest) for blob in image.blobs))
    for body in ("", "{", "[]", '{"image": 5}', '{"image": "NOT AN IMAGE"}', '{"image": "'
                 + "x" * 100_000 + '"}'):
        refusal = a.admin("POST", "/v1/pulls", headers={"Content-Type": "application/json"},
                          body=body)
        assert 400 <= refusal.status < 500, body[:40]


def test_a_pull_is_cancelled_by_the_status_api(rig, faulty):
    image = make_image("team/app", layer_sizes=(20 << 20,))
    registry = faulty()
    registry.add(image)
    registry.faults.append(fault.slow(2 << 20))
    a = rig.agent("a", [registry])
    posted = a.admin("POST", "/v1/pulls", headers={"Content-Type": "application/json"},
                     body=json.dumps({"image": f"{registry.name}/{image.repository}:{image.tag}"}))
    path = f"/v1/pulls/{posted.json()['id']}"
    layer = image.layers[1].digest
    wait_until("some of it is here", lambda: (a.blob(layer) or {}).get("have"))
    assert a.get(path)["state"] == "running"
    assert a.admin("DELETE", path).status == 200
    pull = a.get(path)
    assert pull["state"] == "failed" and "cancelled" in pull["error"]
    wait_until("nothing is fetched any more", lambda: a.status()["pulls"]["active"] == 0)
    left = a.blob(layer)
    assert left["state"] == "partial" and 0 < left["have"] < left["pieces"]
    assert a.admin("DELETE", "/v1/pulls/999").status == 404
    assert a.admin("DELETE", "/v1/pulls/frog").status == 404


def test_a_pull_draws_bars_on_a_terminal_and_lines_elsewhere(rig, faulty):
    image = make_image("team/app", layer_sizes=(4 << 20,))
    registry = faulty()
    registry.add(image)
    registry.faults.append(fault.slow(4 << 20))
    a = rig.agent("a", [registry])
    reference = f"{registry.name}/{image.repository}:{image.tag}"
    code, drawn = drawn_by(a.host.command(BINARY, "pull", reference))
    assert code == 0
    frames = drawn.split("\x1b[3A")  # config and two layers, drawn over each time
    assert len(frames) >= 3, drawn
    large = [line for line in drawn.splitlines()
             if image.layers[1].digest[:19] in line and "[" in line]
    assert len({line.count("=") for line in large}) >= 3, "the bar grows"
    assert large[-1].count("=") == 30
    lines = a.verb("pull", reference).stdout
    assert "\x1b" not in lines and reference in lines.splitlines()[-1]


def test_metrics(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry])
    a.fill(registry, image)
    answer = a.admin("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    parts = {blob.digest: blob.size for blob in [image.top, image.manifest, *image.blobs]}
    whole = sum(parts.values())
    wait_until("all is in the store",
               lambda: a.metrics()["shoal_fetches_done_total"] == len(parts))
    metrics = a.metrics()
    assert all(name.startswith("shoal_") for name in metrics)
    assert metrics["shoal_received_upstream_bytes_total"] == whole
    assert metrics["shoal_sent_runtime_bytes_total"] >= whole
    assert metrics["shoal_received_peer_bytes_total"] == 0
    assert metrics["shoal_inventory_blobs"] == metrics["shoal_store_blobs"] == len(parts)
    assert metrics["shoal_store_bytes"] >= whole
    documented = (BINARY.parents[3] / "docs/OPERATING.md").read_text()
    assert all(f"`{name}`" in documented for name in metrics)


def test_a_log_lets_an_operator_follow_one_pull(rig):
    image = make_image("team/app")
    registry = rig.registry()
    registry.push(image)
    a = rig.agent("a", [registry], agent={"log_level": "info"})
    assert a.verb("pull", registry.reference(image), timeout=120).returncode == 0
    lines = a.log().splitlines()
    for blob in [image.top, image.manifest, *image.blobs]:
        told = [line for line in lines if f"fetched {blob.digest} for pull 1: " in line]
        assert len(told) == 1 and "from upstream" in told[0], blob.digest
    assert any(f"pull 1: {registry.reference(image)} done in" in line for line in lines)
    assert len(lines) < 100, "and has no line for each piece or request"


def test_json_logs(rig):
    a = rig.agent("a", agent={"log_format": "json"})
    a.stop()
    lines = [line for line in a.log().splitlines() if line.strip()]
    assert lines
    for line in lines:
        assert isinstance(json.loads(line), dict)
