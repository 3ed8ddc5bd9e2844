#include "index/log_page.h"

#include <algorithm>

#include "base/check.h"
#include "base/encoding.h"
#include "base/json.h"
#include "index/envelope.h"
#include "index/namespaces.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::string_view kPageContext = "shoal-log-v1\n";
constexpr std::size_t kAnswerBytesMax = std::size_t{16} << 20;
constexpr std::int64_t kSecondsMax = std::int64_t{1} << 32;

std::string Quote(std::string_view text) { return Json::string(std::string(text)).serialize(); }

std::string Encode(const PageToSign& to_sign) {
  const LogPage& page = to_sign.page;
  std::string out = R"({"server":")" + page.server.Hex() + R"(","epoch":)" +
                    std::to_string(page.epoch) + R"(,"after":)" + std::to_string(page.after) +
                    R"(,"cursor":)" + std::to_string(page.cursor) +
                    (page.more ? R"(,"more":true)" : "") + R"(,"peers":[)";
  for (std::size_t i = 0; i < page.peers.size(); ++i) {
    const auto& peer = page.peers[i];
    if (i > 0) out += ',';
    out += to_sign.envelopes[i] != nullptr ? R"({"record":)" + *to_sign.envelopes[i]
                                           : R"({"id":")" + peer.id.Hex() + '"';
    if (!peer.in.empty()) out += R"(,"in":[)";
    for (const auto& [name, until_s] : peer.in) {
      if (out.back() != '[') out += ',';
      out += "[" + Quote(name) + "," + std::to_string(until_s) + "]";
    }
    if (!peer.in.empty()) out += ']';
    if (!peer.out.empty()) out += R"(,"out":[)";
    for (const auto& name : peer.out) {
      if (out.back() != '[') out += ',';
      out += Quote(name);
    }
    if (!peer.out.empty()) out += ']';
    out += '}';
  }
  return out + "]}";
}

Error Wrong(const std::string& what) { return {Code::kInvalid, "page of a log: " + what}; }

// Returns whether the peer may be kept: a record that does not verify is no fault of the page.
Result<bool> ReadPeer(const Json& json, const ReadRecord& read, std::size_t& entries,
                      LogPage::Peer& out) {
  bool is_good = true;
  if (json.has_object_field("record")) {
    auto record = read(json.at("record"));
    is_good = record.ok();
    if (is_good) {
      out.record = *std::move(record);
      out.id = out.record->id();
    }
  } else {
    const auto id = GetString(json, "id", 64);
    if (!id) return id.error();
    const auto parsed = ParsePeerId(*id);
    if (!parsed) return parsed.error();
    out.id = *parsed;
  }
  const auto is_name = [](const Json& name) {
    return name.is_string() && IsNamespace(name.as_string());
  };
  if (json.has_field("in")) {
    const auto in = GetArray(json, "in", kLogEntriesMax);
    if (!in) return in.error();
    for (const auto& item : in->as_array()) {
      const bool is_pair = item.is_array() && item.size() == 2 && is_name(item.at(0)) &&
                           item.at(1).is_integer() && item.at(1).as_number().is_int64();
      if (!is_pair) return Wrong("\"in\" must be pairs of namespace and time");
      const std::int64_t until_s = item.at(1).as_number().to_int64();
      if (until_s < 0 || until_s > kSecondsMax) return Wrong("a time out of bounds");
      out.in.emplace_back(item.at(0).as_string(), until_s);
    }
  }
  if (json.has_field("out")) {
    const auto gone = GetArray(json, "out", kLogEntriesMax);
    if (!gone) return gone.error();
    for (const auto& item : gone->as_array()) {
      if (!is_name(item)) return Wrong("\"out\" must be namespaces");
      out.out.push_back(item.as_string());
    }
  }
  entries += out.in.size() + out.out.size();
  if (entries > kLogEntriesMax) return Wrong("too many registrations");
  return is_good;
}

Result<LogPage> ReadPage(std::string_view text, const ReadRecord& read) {
  auto json = ParseJson(text, kLogPageBytesMax);
  if (!json) return json.error();
  LogPage page;
  const auto server = GetString(*json, "server", 64);
  const auto id = server ? ParsePeerId(*server) : Result<PeerId>(server.error());
  const auto epoch = GetInt(*json, "epoch", 1, kJsonIntMax);
  const auto after = GetInt(*json, "after", 0, kJsonIntMax);
  const auto cursor = GetInt(*json, "cursor", 0, kJsonIntMax);
  const auto peers = GetArray(*json, "peers", kLogPeersMax);
  if (!id) return id.error();
  if (!epoch) return epoch.error();
  if (!after) return after.error();
  if (!cursor) return cursor.error();
  if (!peers) return peers.error();
  if (*cursor < *after) return Wrong("it ends before it begins");
  if (json->has_field("more")) {
    const auto more = GetBool(*json, "more");
    if (!more) return more.error();
    page.more = *more;
  }
  page.server = *id;
  page.epoch = static_cast<std::uint64_t>(*epoch);
  page.after = static_cast<std::uint64_t>(*after);
  page.cursor = static_cast<std::uint64_t>(*cursor);
  if (page.more && page.cursor == page.after)
    return Wrong("it says nothing, and that there is more");
  std::size_t entries = 0;
  for (const auto& item : peers->as_array()) {
    if (!item.is_object()) return Wrong("a peer must be an object");
    LogPage::Peer peer;
    const auto is_good = ReadPeer(item, read, entries, peer);
    if (!is_good) return is_good.error();
    if (*is_good) {
      page.peers.push_back(std::move(peer));
    } else {
      ++page.refused;
    }
  }
  return page;
}

Result<PagePtr> ReadSigned(const Json& json, const PeerId& server, const ReadRecord& read) {
  auto text = GetString(json, "page", kLogPageBytesMax);
  const auto key = GetPublicKey(json, "key");
  const auto signature = GetSignature(json, "signature");
  if (!text) return text.error();
  if (!key) return key.error();
  if (!signature) return signature.error();
  if (PeerIdOf(*key) != server || !VerifyIn(kPageContext, *text, *key, *signature)) {
    return Error{Code::kDenied, "page of a log: it is not signed by its server"};
  }
  auto page = ReadPage(*text, read);
  if (!page) return page.error();
  if (page->server != server) return Wrong("it is of another server's log");
  return PagePtr(std::make_shared<const SignedPage>(
      SignedPage{*std::move(page), *std::move(text), *key, *signature}));
}

Result<ServerLine> ReadLine(const Json& json) {
  ServerLine line;
  const auto id = GetString(json, "id", 64);
  const auto parsed = id ? ParsePeerId(*id) : Result<PeerId>(id.error());
  if (!parsed) return parsed.error();
  line.id = *parsed;
  if (json.has_field("url")) {
    auto url = GetString(json, "url", kServerUrlBytesMax);
    if (!url) return url.error();
    line.url = *std::move(url);
  }
  const auto number = [&](const char* name, auto& out) -> Status {
    if (!json.has_field(name)) return Ok();
    const auto read = GetInt(json, name, 0, kJsonIntMax);
    if (!read) return read.error();
    out = static_cast<std::decay_t<decltype(out)>>(*read);
    return Ok();
  };
  const auto flag = [&](const char* name, bool& out) -> Status {
    if (!json.has_field(name)) return Ok();
    const auto read = GetBool(json, name);
    if (!read) return read.error();
    out = *read;
    return Ok();
  };
  for (const Status& status :
       {flag("listed", line.is_ours), flag("works", line.works), number("epoch", line.epoch),
        number("cursor", line.cursor), number("heard_s", line.heard_s),
        number("registrations", line.registrations)}) {
    if (!status) return status.error();
  }
  return line;
}

}  // namespace

PagePtr SignPage(PageToSign to_sign, const SigningKey& key) {
  SHOAL_CHECK(to_sign.envelopes.size() == to_sign.page.peers.size());
  to_sign.page.server = key.id();
  std::string text = Encode(to_sign);
  const Signature signature = SignIn(kPageContext, text, key);
  return std::make_shared<const SignedPage>(
      SignedPage{std::move(to_sign.page), std::move(text), key.public_key(), signature});
}

std::string EncodePages(const std::vector<PagePtr>& pages) {
  std::string out = R"({"status":"OK","pages":[)";
  for (const auto& page : pages) {
    if (out.back() != '[') out += ',';
    out += R"({"page":)" + Quote(page->text) + R"(,"key":")" + ToBase64Url(page->key.bytes) +
           R"(","signature":")" + ToBase64Url(page->signature) + R"("})";
  }
  return out + "]}";
}

Result<PagesOrError> DecodePages(std::string_view text, const PeerId& server,
                                 const ReadRecord& read) {
  auto json = ParseJson(text, kAnswerBytesMax);
  if (!json) return json.error().In("index server");
  const auto word = GetString(*json, "status", 64);
  if (!word) return word.error().In("index server");
  PagesOrError out;
  out.error.status = ParseRendezvousStatus(*word);
  if (json->has_field("text")) {
    auto why = GetString(*json, "text", 1024);
    if (why) out.error.text = *std::move(why);
  }
  if (!out.error.ok()) return out;
  const auto pages = GetArray(*json, "pages", kLogPagesMax);
  if (!pages) return pages.error().In("index server");
  for (const auto& item : pages->as_array()) {
    if (!item.is_object()) return Wrong("it must be an object");
    auto page = ReadSigned(item, server, read);
    if (!page) return page.error().In("index server");
    out.pages.push_back(*std::move(page));
  }
  return out;
}

std::string EncodeServers(const std::vector<ServerLine>& servers) {
  std::string out = R"({"status":"OK","servers":[)";
  for (const auto& line : servers) {
    if (out.back() != '[') out += ',';
    out += R"({"id":")" + line.id.Hex() + '"';
    if (!line.url.empty()) out += R"(,"url":)" + Quote(line.url);
    if (line.is_ours) out += R"(,"listed":true)";
    if (line.works) out += R"(,"works":true)";
    out += R"(,"epoch":)" + std::to_string(line.epoch) + R"(,"cursor":)" +
           std::to_string(line.cursor) + R"(,"heard_s":)" + std::to_string(line.heard_s) +
           R"(,"registrations":)" + std::to_string(line.registrations) + "}";
  }
  return out + "]}";
}

Result<std::vector<ServerLine>> DecodeServers(std::string_view text) {
  auto json = ParseJson(text, std::size_t{256} << 10);
  if (!json) return json.error().In("index server");
  const auto servers = GetArray(*json, "servers", kFederatedMax + 1);
  if (!servers) return servers.error().In("index server");
  std::vector<ServerLine> out;
  for (const auto& item : servers->as_array()) {
    if (!item.is_object()) return Wrong("a server must be an object");
    auto line = ReadLine(item);
    if (!line) return line.error().In("index server");
    out.push_back(*std::move(line));
  }
  if (out.empty()) return Wrong("no server is named");
  return out;
}

}  // namespace shoal::index
