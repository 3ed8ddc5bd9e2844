#include "agent/dashboard.h"

namespace shoal::agent {
namespace {

constexpr std::string_view kPage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>shoal</title>
<style>
:root { --ink: #1c2733; --dim: #66758a; --line: #dde4ec; --back: #f6f8fb; --card: #fff;
        --accent: #0b7285; --peers: #0ca678; --upstream: #f08c00; --bad: #c92a2a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dbe4ee; --dim: #8b9bb0; --line: #2b3644; --back: #10161d; --card: #18212b;
          --accent: #3bc9db; --peers: #38d9a9; --upstream: #ffa94d; --bad: #ff8787; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
       font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 12px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 15px; margin: 28px 0 8px; }
.dim { color: var(--dim); } .bad { color: var(--bad); }
code { font: 12px ui-monospace, monospace; }
a { color: var(--accent); }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; margin-top: 16px; }
@media (max-width: 640px) { .cards { grid-template-columns: repeat(2, 1fr); } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
        padding: 10px 12px; }
.card b { display: block; font-size: 20px; font-weight: 600; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
          border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 6px 12px; border-bottom: 1px solid var(--line);
         white-space: nowrap; }
th { color: var(--dim); font-weight: 500; } tr:last-child td { border-bottom: 0; }
input { font: inherit; font-weight: 400; width: 320px; max-width: 100%; margin-left: 8px;
        padding: 4px 10px; color: var(--ink); background: var(--card);
        border: 1px solid var(--line); border-radius: 6px; }
input:focus { outline: 2px solid var(--accent); outline-offset: -1px; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: flex; width: 140px; height: 8px; border-radius: 4px; overflow: hidden;
       background: var(--line); }
.bar i { height: 100%; } .p { background: var(--peers); } .u { background: var(--upstream); }
.l { background: var(--accent); }
</style>
</head>
<body>
<main>
<header><h1 id="name">shoal</h1><span class="dim" id="what"></span></header>
<div class="cards" id="cards"></div>
<p id="reach"></p>
<h2>Peers</h2><div class="scroll"><table id="peers"></table></div>
<h2>Pulls and fetched blobs <span class="dim">&mdash; <span style="color:var(--peers)">peers</span>,
<span style="color:var(--upstream)">upstream</span>,
<span style="color:var(--accent)">here before</span></span></h2>
<div class="scroll"><table id="pulls"></table></div>
<h2><label for="q">Images</label> <input id="q" type="search" autocomplete="off" spellcheck="false"
placeholder="nginx 1.25, reg/team/*:v2*, arch:arm64"></h2>
<p class="dim" id="found" hidden></p><div class="scroll"><table id="images"></table></div>
<p class="dim">As numbers: <a href="/v1/status">status</a>, <a href="/v1/peers">peers</a>,
<a href="/v1/blobs">blobs</a>, <a href="/v1/pulls">pulls</a>, <a href="/metrics">metrics</a></p>
</main>
<script>
"use strict";
const $ = id => document.getElementById(id);
const size = n => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; ++i; }
  return (i ? n.toFixed(1) : n) + " " + units[i];
};
const rate = bps => bps ? size(Math.round(bps / 8)) + "/s" : "\u2013";
// Every text goes in as text: names come from other hosts.
const cell = (row, value, kind) => {
  const td = row.insertCell();
  if (kind) td.className = kind;
  if (value instanceof Node) td.append(value); else td.textContent = value;
};
const fill = (table, heads, rows, empty) => {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const [text, kind] of heads) {
    const th = document.createElement("th");
    th.textContent = text; th.className = kind || ""; head.append(th);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    row.forEach((value, i) => cell(tr, value, heads[i][1]));
  }
  if (!rows.length) cell(body.insertRow(), empty, "dim");
};
const code = text => {
  const c = document.createElement("code"); c.textContent = text; return c;
};
const bar = (total, peers, upstream, local) => {
  const box = document.createElement("div");
  box.className = "bar";
  for (const [n, kind] of [[local, "l"], [peers, "p"], [upstream, "u"]]) {
    const part = document.createElement("i");
    part.className = kind; part.style.width = total ? 100 * n / total + "%" : 0;
    box.append(part);
  }
  return box;
};
const short = digest => digest ? digest.slice(0, 19) : "";
// Whether others can dial this host, through whom else it is reached, and for whom it relays.
const drawReach = (relay, inRoom) => {
  const through = relay.through.map(r => r.name + " (" + r.endpoint + ")").join(", ");
  const lost = relay.dialable === "no" && !through;
  $("reach").hidden = !inRoom;
  $("reach").className = lost ? "bad" : "dim";
  $("reach").textContent = (relay.dialable === "yes" ? "Others can dial this host"
    : through ? (relay.dialable === "no" ? "Nobody can dial this host; it" : "This host") +
      " is reached through " + through
    : lost ? "Nobody can dial this host, and it is reached through no relay"
    : "No other host has tried to dial this one yet") +
    (relay.serves ? " · relays for " + relay.places + " of at most " + relay.slots + " others, " +
      relay.circuits + " connections, " + size(relay.bytes) + " carried" : " · relays for nobody");
};
let asked = 0;
// What is typed is searched; nothing typed shows all.
async function drawImages() {
  const q = $("q").value.trim(), mine = ++asked;
  const answer = await fetch(q ? "/v1/search?limit=100&q=" + encodeURIComponent(q) : "/v1/images");
  const found = await answer.json();
  if (mine !== asked) return;
  const wrong = q && found.error;
  const images = wrong ? [] : q ? found.images : found;
  $("found").hidden = !wrong && !(q && (found.next || !found.whole));
  $("found").textContent = wrong || "there are more: say more words";
  fill($("images"), [["name"], ["digest"], ["size", "n"], ["platforms"], ["here"], ["holders", "n"]],
    images.map(i => [i.name, code(short(i.digest)), i.size ? size(i.size) : "\u2013",
      (i.platforms || []).join(", ") || "\u2013", i.here ? "yes" : "", i.holders]),
    q ? "no image that this host knows of is that" : "no image is known yet");
}
$("q").addEventListener("input", () => drawImages().catch(() => {}));
async function draw() {
  const get = path => fetch(path).then(answer => answer.json());
  try {
    const [s, peers, pulls] = await Promise.all(
      ["/v1/status", "/v1/peers", "/v1/pulls"].map(get));
    $("name").textContent = s.name;
    $("what").textContent = "shoal " + s.version + " · " + s.id.slice(0, 12) + " · " +
      (s.room.length ? "room " + s.room.join(", ") : "shares nothing") + " · " +
      s.index.map(i => i.kind + (i.ok ? "" : " (" + i.text + ")")).join(", ");
    const cards = [["peers alive", s.peers.alive], ["blobs", s.store.blobs],
      ["store", size(s.store.bytes)], ["from peers", size(s.bytes.from_peers)],
      ["from upstream", size(s.bytes.from_upstream)], ["to peers", size(s.bytes.to_peers)],
      ["to runtime", size(s.bytes.to_runtime)], ["pulls failed", s.pulls.failed]];
    $("cards").replaceChildren(...cards.map(([name, value]) => {
      const card = document.createElement("div"), b = document.createElement("b");
      card.className = "card"; b.textContent = value; card.append(b, name); return card;
    }));
    drawReach(s.relay, s.room.length > 0);
    const nameOf = id => id === s.id ? "this host"
      : (peers.find(p => p.id === id) || {name: id.slice(0, 12)}).name;
    const place = p => p.relay ? "through " + nameOf(p.relay) : p.endpoints[0] || "";
    fill($("peers"), [["name"], ["id"], ["endpoint"], ["state"], ["blobs", "n"],
      ["in now", "n"], ["out now", "n"], ["received", "n"], ["sent", "n"]],
      peers.map(p => [p.name, code(p.id.slice(0, 12)), place(p),
        p.banned_until ? "banned" : p.state, p.blobs, rate(p.rate_in_bps), rate(p.rate_out_bps),
        size(p.bytes_in), size(p.bytes_out)]), "no peer is known yet");
    fill($("pulls"), [["what"], ["state"], ["size", "n"], [""], ["time", "n"], ["sources"]],
      pulls.slice(0, 50).map(p => [p.image || code(short(p.digest)),
        p.error ? p.state + ": " + p.error : p.state, size(p.size),
        bar(p.size, p.from_peers, p.from_upstream, p.resumed || 0), p.took_ms + " ms",
        p.sources.join(", ")]), "nothing was fetched yet");
    await drawImages();
  } catch (error) {
    $("what").textContent = "the agent does not answer";
  }
  setTimeout(draw, 1000);
}
draw();
</script>
</body>
</html>
)html";

}  // namespace

std::string_view DashboardPage() { return kPage; }

}  // namespace shoal::agent
