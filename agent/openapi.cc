#include "agent/openapi.h"
#include "agent/json_parts.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoal::agent {
namespace {

using Members = std::initializer_list<std::pair<const char*, Json>>;
using Words = std::initializer_list<const char*>;

Json Object(Members members) {
  Json object = Json::object(true);
  for (const auto& [name, value] : members) object[name] = value;
  return object;
}

Json List(const std::vector<Json>& items) { return Json::array(items); }

// --- schemas ---

Json Type(const char* name) { return Object({{"type", Text(name)}}); }
Json String() { return Type("string"); }
Json Integer() { return Type("integer"); }
Json Boolean() { return Type("boolean"); }
Json Anything() { return Type("object"); }
Json Ref(const std::string& name) {
  return Object({{"$ref", Text("#/components/schemas/" + name)}});
}
Json Array(const Json& of) { return Object({{"type", Text("array")}, {"items", of}}); }
Json DigestText() {
  return Object({{"type", Text("string")}, {"pattern", Text("^sha256:[0-9a-f]{64}$")}});
}
Json OneOf(Words words) {
  std::vector<Json> list;
  for (const char* word : words) list.push_back(Text(word));
  return Object({{"type", Text("string")}, {"enum", List(list)}});
}
Json CountsByName() {
  return Object({{"type", Text("object")}, {"additionalProperties", Integer()}});
}
// All members are always there.
Json Struct(Members members, const char* description = "") {
  std::vector<Json> names;
  for (const auto& [name, schema] : members) names.push_back(Text(name));
  Json object = Object(
      {{"type", Text("object")}, {"required", List(names)}, {"properties", Object(members)}});
  if (*description != '\0') object["description"] = Text(description);
  return object;
}
Json Integers(Words names) {
  Json properties = Json::object(true);
  std::vector<Json> list;
  for (const char* name : names) {
    properties[name] = Integer();
    list.push_back(Text(name));
  }
  return Object({{"type", Text("object")}, {"required", List(list)}, {"properties", properties}});
}

Json RelaySchema() {
  const Json through = Struct({{"id", String()}, {"name", String()}, {"endpoint", String()}});
  return Struct({{"dialable", OneOf({"unknown", "yes", "no"})},
                 {"through", Array(through)},
                 {"serves", Boolean()},
                 {"slots", Integer()},
                 {"places", Integer()},
                 {"circuits", Integer()},
                 {"bytes", Integer()}});
}

Json StatusSchema() {
  // Of a DHT; null for others.
  const Json nodes = Object({{"type", Text("integer")}, {"nullable", Json::boolean(true)}});
  const Json index = Struct({{"kind", String()},
                             {"target", String()},
                             {"ok", Boolean()},
                             {"text", String()},
                             {"nodes", nodes}});
  return Struct({{"id", String()},
                 {"name", String()},
                 {"version", String()},
                 {"uptime_s", Integer()},
                 {"room", Array(String())},
                 {"index", Array(index)},
                 {"peers", Integers({"known", "alive", "estimated_network_size",
                                     "estimated_network_size_error"})},
                 {"store", Integers({"blobs", "bytes", "max_bytes"})},
                 {"bytes", Integers({"from_peers", "from_upstream", "to_peers", "to_runtime"})},
                 {"pulls", Integers({"active", "done", "failed"})},
                 {"containerd", String()},
                 {"relay", RelaySchema()}});
}

Json PeerSchema() {
  return Struct({{"id", String()},
                 {"name", String()},
                 {"endpoints", Array(String())},
                 {"relay", String()},
                 {"rooms", Array(String())},
                 {"state", OneOf({"new", "alive", "gone"})},
                 {"last_seen", Integer()},
                 {"blobs", Integer()},
                 {"rate_in_bps", Integer()},
                 {"rate_out_bps", Integer()},
                 {"bytes_in", Integer()},
                 {"bytes_out", Integer()},
                 {"score", Type("number")},
                 {"banned_until", Integer()}},
                "Rates are bits a second, times Unix milliseconds, or 0 for never.");
}

Json PullSchema() {
  const Json blob = Struct({{"digest", DigestText()},
                            {"size", Integer()},
                            {"state", OneOf({"waiting", "fetching", "done"})},
                            {"have_bytes", Integer()},
                            {"local", Boolean()},
                            {"from_peers", Integer()},
                            {"from_upstream", Integer()},
                            {"sources", CountsByName()}});
  return Struct({{"id", String()},
                 {"image", String()},
                 {"digest", Object({{"type", Text("string")}, {"nullable", Json::boolean(true)}})},
                 {"state", OneOf({"running", "done", "failed"})},
                 {"error", String()},
                 {"in_containerd", Boolean()},
                 {"took_ms", Integer()},
                 {"size", Integer()},
                 {"from_peers", Integer()},
                 {"from_upstream", Integer()},
                 {"sources", Array(String())},
                 {"blobs", Array(blob)}},
                "An image on request.");
}

Json FetchSchema() {
  return Struct({{"id", OneOf({""})},
                 {"digest", DigestText()},
                 {"why", String()},
                 {"state", OneOf({"running", "done", "failed"})},
                 {"error", String()},
                 {"size", Integer()},
                 {"pieces", Integer()},
                 {"have", Integer()},
                 {"from_peers", Integer()},
                 {"from_upstream", Integer()},
                 {"resumed", Integer()},
                 {"wasted", Integer()},
                 {"took_ms", Integer()},
                 {"bytes_by_peer", CountsByName()},
                 {"sources", Array(String())}},
                "One blob; `why` says for whom.");
}

Json ImageSchema(bool found) {
  Json image = Struct({{"name", String()},
                       {"digest", DigestText()},
                       {"size", Integer()},
                       {"platforms", Array(String())},
                       {"here", Boolean()},
                       {"holders", Integer()}});
  if (found) {
    image["required"][image.at("required").size()] = Text("match");
    image["properties"]["match"] = OneOf({"exact", "prefix", "word", "pattern"});
  }
  return image;
}

Json PreheatSchema() {
  const Json host =
      Struct({{"id", String()},
              {"name", String()},
              {"state", OneOf({"waiting", "running", "done", "failed", "declined", "silent"})},
              {"have_bytes", Integer()},
              {"size", Integer()},
              {"text", String()}});
  return Struct({{"id", String()},
                 {"image", String()},
                 {"room", String()},
                 {"state", OneOf({"running", "done", "withdrawn"})},
                 {"expires", Integer()},
                 {"have_bytes", Integer()},
                 {"size", Integer()},
                 {"hosts", Array(host)}},
                "`done`: no host is waited for.");
}

Json Schemas() {
  return Object(
      {{"Error", Struct({{"error", String()}}, "One sentence that says what to do.")},
       {"Status", StatusSchema()},
       {"Peer", PeerSchema()},
       {"Room", Struct({{"name", String()},
                        {"id", String()},
                        {"member", Boolean()},
                        {"until", Integer()},
                        {"members", Integer()},
                        {"revocations", Integer()}})},
       {"Message", Struct({{"writer", String()},
                           {"name", String()},
                           {"sequence", Integer()},
                           {"written", Integer()},
                           {"expires", Integer()},
                           {"kind", String()},
                           {"topic", String()},
                           {"body", Anything()}},
                          "Of a room's feed. `name` is the writer's, empty when it is not known.")},
       {"Preheat", PreheatSchema()},
       {"BlobRow", Struct({{"digest", DigestText()},
                           {"size", Integer()},
                           {"state", OneOf({"complete", "partial"})},
                           {"in_containerd", Boolean()}})},
       {"Blob", Struct({{"digest", DigestText()},
                        {"size", Integer()},
                        {"state", OneOf({"complete", "fetching", "partial", "absent"})},
                        {"pieces", Integer()},
                        {"have", Integer()},
                        {"in_containerd", Boolean()},
                        {"holders", Array(Ref("Holder"))}})},
       {"Holder",
        Struct({{"id", String()}, {"name", String()}, {"endpoint", String()}, {"what", String()}},
               "`what` is complete, partial, a manifest's digest, or who says so.")},
       {"Image", ImageSchema(false)},
       {"Found", ImageSchema(true)},
       {"SearchPage",
        Struct({{"images", Array(Ref("Found"))}, {"next", String()}, {"whole", Boolean()}},
               "`next` is the `after` of the next page; `whole` is false when it was cut short.")},
       {"Holders",
        Struct(
            {{"what", String()}, {"holders", Array(Ref("Holder"))}, {"asked", Array(Ref("Asked"))}},
            "`asked` is empty when it is not known which digest is meant.")},
       {"Asked", Struct({{"kind", String()}, {"found", Integer()}, {"took_us", Integer()}},
                        "The catalog or a peer index (lan, rendezvous, dht, static): how many "
                        "holders it named, and how long it took.")},
       {"Pull", PullSchema()},
       {"Fetch", FetchSchema()}});
}

// --- paths ---

Json Content(const Json& schema, const char* type = "application/json") {
  return Object({{type, Object({{"schema", schema}})}});
}

// errors  statuses that are answered with an Error.
Json Operation(const char* summary, const Json& content, Words errors = {},
               const std::vector<Json>& parameters = {}, const char* status = "200") {
  Json responses =
      Object({{status, Object({{"description", Text("the answer")}, {"content", content}})}});
  for (const char* error : errors) {
    responses[error] =
        Object({{"description", Text("an error")}, {"content", Content(Ref("Error"))}});
  }
  Json operation = Object({{"summary", Text(summary)}, {"responses", responses}});
  if (!parameters.empty()) operation["parameters"] = List(parameters);
  return operation;
}

Json WithBody(Json operation, const Json& schema) {
  operation["requestBody"] =
      Object({{"required", Json::boolean(true)}, {"content", Content(schema)}});
  return operation;
}

Json Parameter(const char* in, const char* name, const char* description, bool required,
               const Json& schema) {
  return Object({{"name", Text(name)},
                 {"in", Text(in)},
                 {"required", Json::boolean(required)},
                 {"description", Text(description)},
                 {"schema", schema}});
}
Json InPath(const char* name) { return Parameter("path", name, "", true, String()); }
Json Query(const char* name, const char* description, bool required = false) {
  return Parameter("query", name, description, required, String());
}
Json Limit(const char* description) {
  Json number = Integer();
  number["minimum"] = Json::number(1);
  return Parameter("query", "limit", description, false, number);
}

Json Get(const char* summary, const Json& schema, Words errors = {},
         const std::vector<Json>& parameters = {}) {
  return Object({{"get", Operation(summary, Content(schema), errors, parameters)}});
}
Json GetText(const char* summary, const char* type = "text/plain") {
  return Object({{"get", Operation(summary, Content(String(), type))}});
}

Json PullPaths(Json paths) {
  paths["/v1/pulls"] =
      Get("Pulls of images, the newest first; then blobs, those under way first; the last 200 each",
          Array(Object({{"oneOf", List({Ref("Pull"), Ref("Fetch")})}})));
  paths["/v1/pulls"]["post"] =
      WithBody(Operation("Pull an image into the store, and into containerd where there is one; "
                         "one that runs already is joined",
                         Content(Struct({{"id", String()}})), {"400", "503"}, {}, "202"),
               Struct({{"image", String()}}));
  paths["/v1/pulls/{id}"] = Get("One pull of an image", Ref("Pull"), {"404"}, {InPath("id")});
  paths["/v1/pulls/{id}"]["delete"] =
      Operation("End it; blobs that nobody else wants are fetched no further", Content(Anything()),
                {"404"}, {InPath("id")});
  return paths;
}

Json RoomPaths(Json paths) {
  paths["/v1/rooms"] = Get("The rooms that this host has joined", Array(Ref("Room")));
  paths["/v1/rooms/reload"] =
      Object({{"post", Operation("Take in what `shoal join` and `shoal room leave` wrote",
                                 Content(Anything()))}});
  paths["/v1/rooms/{id}/feed"] =
      Get("What stands in a room's feed; `id` may be its name, or \"open\"", Array(Ref("Message")),
          {"404"}, {InPath("id")});
  paths["/v1/rooms/{id}/revocations"] = Object(
      {{"post",
        WithBody(Operation("Take in what the room's key revoked; on disk when it is answered",
                           Content(Anything()), {"400", "404"}, {InPath("id")}),
                 Struct({{"revocation", String()}}))}});
  return paths;
}

Json PreheatPaths(Json paths) {
  paths["/v1/preheats"] =
      Get("Preheats that this host has said, the newest first; the last 64", Array(Ref("Preheat")));
  Json asked = Struct({{"image", String()}});
  asked["properties"]["room"] = String();
  asked["properties"]["expires"] = String();
  paths["/v1/preheats"]["post"] = WithBody(
      Operation("Have every host of a room fetch an image", Content(Struct({{"id", String()}})),
                {"400", "403", "404", "503"}, {}, "202"),
      asked);
  paths["/v1/preheats/{id}"] = Get("One preheat", Ref("Preheat"), {"404"}, {InPath("id")});
  paths["/v1/preheats/{id}"]["delete"] =
      Operation("Take it back; hosts that have the image keep it", Content(Anything()), {"404"},
                {InPath("id")});
  return paths;
}

Json Paths() {
  Json paths = Object(
      {{"/", GetText("The dashboard", "text/html")},
       {"/healthz", GetText("Alive")},
       {"/readyz", GetText("Whether the mirror serves")},
       {"/metrics", GetText("Prometheus' text format")},
       {"/openapi.json", Get("This", Anything())},
       {"/v1/status", Get("This agent", Ref("Status"))},
       {"/v1/peers", Get("The peers that it knows", Array(Ref("Peer")))},
       {"/v1/blobs",
        Get("The blobs that are here, in the order of digests", Array(Ref("BlobRow")), {"400"},
            {Limit("at most so many; 1000 at most"),
             Query("after", "only those behind this digest")})},
       {"/v1/blobs/{digest}", Get("What is here of a blob, and who else has it", Ref("Blob"),
                                  {"400", "404"}, {InPath("digest")})},
       {"/v1/images", Get("The images that are here or at peers; of the peers' the first 1000",
                          Array(Ref("Image")))},
       {"/v1/search",
        Get("Images by name, tag, digest, platform or size", Ref("SearchPage"), {"400"},
            {Query("q", "words, all of which must hold", true),
             Limit("at most so many; 50 without, 1000 at most"),
             Query("after", "`next` of the page before")})},
       {"/v1/who-has", Get("The holders of an image or a blob", Ref("Holders"), {"400"},
                           {Query("what", "an image's name, or a digest", true),
                            Query("resolve", "ask the registry and the peer indexes too")})},
       {"/v1/events",
        GetText("Server-sent events. `fetch` bears a Fetch, `pull` a Pull, `peer` {id, name, "
                "state: alive, gone or banned}, `image` {name, digest: null when it is gone}. "
                "A client that does not read is cut off",
                "text/event-stream")}});
  paths["/readyz"]["get"]["responses"]["503"] =
      Object({{"description", Text("not yet, or no longer")},
              {"content", Content(String(), "text/plain")}});
  return PreheatPaths(RoomPaths(PullPaths(std::move(paths))));
}

}  // namespace

Json OpenApi() {
  const char* description =
      "On agent.admin. Bodies are at most 64 KiB. A method that a path does not have is answered "
      "405. docs/OPERATING.md says more.";
  return Object({{"openapi", Text("3.0.3")},
                 {"info", Object({{"title", Text("shoal's status API")},
                                  {"version", Text(SHOAL_VERSION)},
                                  {"description", Text(description)}})},
                 {"paths", Paths()},
                 {"components", Object({{"schemas", Schemas()}})}});
}

}  // namespace shoal::agent
