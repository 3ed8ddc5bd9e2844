#include "registry-proxy/http/mirror.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <utility>

#include "registry-proxy/errors.h"
#include "registry-proxy/http_range.h"

namespace shoal::proxy {
namespace {

using fetch::HttpReply;
using fetch::HttpServer;

// RFC 7234, section 5.5.1: what clients of a cache know.
constexpr std::string_view kStaleWarning = "110 shoal \"Response is Stale\"";

constexpr std::string_view kHere = "local";

HttpReply ErrorReply(const OciError& error, bool head, std::string_view source = kHere) {
  HttpReply reply;
  reply.status = error.status;
  reply.headers = {{"Content-Type", std::string(kErrorMediaType)},
                   {"Shoal-Source", std::string(source)}};
  std::string body = ToBody(error);
  if (head) {
    reply.content_length = Bytes(static_cast<std::int64_t>(body.size()));
  } else {
    reply.body.push_back({std::move(body), nullptr, {}, {}});
  }
  if (error.status == 503) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

// A refusal is the upstream's word, as it is always asked before; all else is our own.
HttpReply FetchErrorReply(const Error& error, bool manifest, bool head) {
  const bool refused = error.code == Code::kNotFound || error.code == Code::kDenied;
  return ErrorReply(FromError(error, manifest), head,
                    refused ? fetch::BlobOrigin{.upstream = true}.ToString() : std::string(kHere));
}

void AddCommon(HttpReply& reply, const PullRequest& pull, const Digest& digest,
               const fetch::BlobOrigin& origin) {
  reply.headers.emplace_back("Docker-Content-Digest", ToString(digest));
  reply.headers.emplace_back("ETag", EntityTag(digest));
  reply.headers.emplace_back("Shoal-Source", origin.ToString());
  if (pull.has_ns) reply.headers.emplace_back("OCI-Namespace", pull.registry);
}

// The body of a 206 with several ranges, and its media type.
std::string AddParts(HttpReply& reply, const RangeAnswer& answer, const fetch::LiveBlob& live,
                     const std::string& media_type) {
  const std::string boundary = "shoal-" + live.digest().Short();
  const Bytes size = live.geometry().blob();
  for (const auto& range : answer.ranges) {
    reply.body.push_back({PartHeader(boundary, media_type, range, size), nullptr, {}, {}});
    reply.body.push_back({"", live.file(), range.begin, range.end});
  }
  reply.body.push_back({LastBoundary(boundary), nullptr, {}, {}});
  return "multipart/byteranges; boundary=" + boundary;
}

}  // namespace

HttpReply Mirror::Refuse(int status, std::string_view why) {
  return ErrorReply(Refused(status, why), false);
}

void Mirror::Handle(fetch::HttpRequest request, HttpServer::Responder respond) {
  const bool head = request.method == "HEAD";
  if (!head && request.method != "GET") {
    return respond(ErrorReply(Unsupported("this mirror only answers pulls"), false));
  }
  auto parsed = ParsePull(request.target);
  if (const auto* error = std::get_if<OciError>(&parsed)) {
    return respond(ErrorReply(*error, head));
  }
  auto ask = std::make_shared<Ask>();
  ask->pull = std::move(std::get<PullRequest>(parsed));
  ask->head = head;
  // RFC 9110, section 14.2: ranges are for GET.
  if (!head) ask->range = fetch::FindHeader(request.headers, "range");
  ask->if_range = fetch::FindHeader(request.headers, "if-range");
  ask->if_none_match = fetch::FindHeader(request.headers, "if-none-match");
  ask->remote = request.remote;
  // The first answer counts; the second to come (a time-out, or what it came before) is not heard.
  ask->respond = [weak = std::weak_ptr(ask), respond = std::move(respond)](HttpReply reply) {
    const auto self = weak.lock();
    if (self && !self->answered.exchange(true)) respond(std::move(reply));
  };
  if (!ask->pull.other_digest.empty()) {
    return ask->respond(ErrorReply(FromError({Code::kNotFound, "shoal fetches sha256 digests only"},
                                             ask->pull.kind == PullKind::kManifest),
                                   head));
  }
  switch (ask->pull.kind) {
    case PullKind::kPing: {
      HttpReply reply;
      reply.headers = {{"Content-Type", "application/json"},
                       {"Docker-Distribution-API-Version", "registry/2.0"},
                       {"Shoal-Source", std::string(kHere)}};
      if (head) {
        reply.content_length = Bytes(2);
      } else {
        reply.body.push_back({"{}", nullptr, {}, {}});
      }
      return ask->respond(std::move(reply));
    }
    case PullKind::kManifest:
      return Manifest(ask);
    case PullKind::kBlob:
      return Blob(ask);
    case PullKind::kReferrers:
    case PullKind::kTags:
      return PassOn(ask);
  }
}

void Mirror::Bound(const SharedAsk& ask) {
  if (ask->answered) return;
  ports_.loop.After(kHeaderTimeMax, [ask] {
    ask->respond(
        ErrorReply(FromError({Code::kRetryLater, "no peer and no upstream answered in time"},
                             ask->pull.kind == PullKind::kManifest),
                   ask->head));
  });
}

void Mirror::Manifest(const SharedAsk& ask) {
  Bound(ask);
  if (ask->pull.digest) return ManifestByDigest(ask, *ask->pull.digest, false);
  ports_.loop.Post([self = shared_from_this(), ask] {
    const PullRequest& pull = ask->pull;
    self->ports_.tags.Resolve(
        pull.registry, pull.repository, pull.tag, [self, ask](Result<TagAnswer> resolved) {
          if (!resolved) {
            return ask->respond(FetchErrorReply(resolved.error(), true, ask->head));
          }
          // A HEAD needs no manifest when the tag's entry tells all that it answers.
          if (ask->head && !resolved->media_type.empty() && resolved->size >= Bytes(0)) {
            HttpReply reply;
            reply.headers = {{"Content-Type", resolved->media_type}};
            reply.content_length = resolved->size;
            AddCommon(reply, ask->pull, resolved->digest, resolved->origin);
            if (resolved->stale) reply.headers.emplace_back("Warning", kStaleWarning);
            // containerd asks for the manifest by its digest now.
            self->ports_.on_tag(TagName(ask->pull.registry, ask->pull.repository, ask->pull.tag),
                                resolved->digest);
            return ask->respond(std::move(reply));
          }
          self->ports_.pool.Post([self, ask, digest = resolved->digest, stale = resolved->stale] {
            self->ManifestByDigest(ask, digest, stale);
          });
        });
  });
}

void Mirror::ManifestByDigest(const SharedAsk& ask, const Digest& digest, bool stale) {
  const PullRequest& pull = ask->pull;
  ports_.manifests.Get(
      pull.registry, pull.repository, digest, "mirror",
      [self = shared_from_this(), ask, stale](Result<FetchedManifest> fetched) {
        if (!fetched) {
          return ask->respond(FetchErrorReply(fetched.error(), true, ask->head));
        }
        HttpReply reply;
        reply.headers = {{"Content-Type", fetched->manifest.media_type}};
        AddCommon(reply, ask->pull, fetched->digest, fetched->origin);
        if (stale) reply.headers.emplace_back("Warning", kStaleWarning);
        if (!ask->pull.tag.empty()) {
          self->ports_.loop.Post([self, ask, digest = fetched->digest] {
            self->ports_.on_tag(TagName(ask->pull.registry, ask->pull.repository, ask->pull.tag),
                                digest);
          });
        }
        const Bytes size(static_cast<std::int64_t>(fetched->body.size()));
        if (IfNoneMatches(ask->if_none_match, EntityTag(fetched->digest))) {
          reply.status = 304;
          reply.content_length = size;
          return ask->respond(std::move(reply));
        }
        if (ask->head) {
          reply.content_length = size;
          return ask->respond(std::move(reply));
        }
        // containerd 2.1 asks for manifests with open-ended ranges too.
        const RangeAnswer range = IfRangeMatches(ask->if_range, EntityTag(fetched->digest))
                                      ? ParseRange(ask->range, size)
                                      : RangeAnswer{};
        if (range.kind == RangeKind::kUnsatisfiable) {
          reply = ErrorReply(RangeInvalid("the range lies outside the manifest"), false,
                             fetched->origin.ToString());
          reply.headers.emplace_back("Content-Range", UnsatisfiedContentRange(size));
          return ask->respond(std::move(reply));
        }
        std::string body = std::move(fetched->body);
        if (range.kind == RangeKind::kPartial && range.ranges.size() == 1) {
          const ByteRange& only = range.ranges.front();
          reply.status = 206;
          reply.headers.emplace_back("Content-Range", ContentRange(only, size));
          body = body.substr(static_cast<std::size_t>(only.begin.count()),
                             static_cast<std::size_t>((only.end - only.begin).count()));
        }
        reply.done = [self](Bytes sent, bool) { self->ports_.counters.to_runtime += sent.count(); };
        reply.body.push_back({std::move(body), nullptr, {}, {}});
        ask->respond(std::move(reply));
      });
}

void Mirror::Blob(const SharedAsk& ask) {
  const PullRequest& pull = ask->pull;
  fetch::FetchRequest request;
  request.digest = *pull.digest;
  request.upstream = fetch::UpstreamRef{pull.registry, pull.repository, false};
  request.expected_size = ports_.manifests.hints().Find(*pull.digest);
  request.why = "mirror";
  // Where a returning client left off: the window starts there.
  if (request.expected_size) {
    const RangeAnswer range = ParseRange(ask->range, *request.expected_size);
    if (range.kind == RangeKind::kPartial) request.first_offset = range.ranges.front().begin;
  }
  ports_.fetcher.Open(std::move(request), [self = shared_from_this(), ask](auto opened) {
    if (!opened) return ask->respond(FetchErrorReply(opened.error(), false, ask->head));
    const std::shared_ptr<fetch::LiveBlob> live = *opened;
    const Bytes size = live->geometry().blob();
    const std::string tag = EntityTag(live->digest());
    HttpReply reply;
    AddCommon(reply, ask->pull, live->digest(), live->origin());
    reply.headers.emplace_back("Accept-Ranges", "bytes");
    if (IfNoneMatches(ask->if_none_match, tag)) {
      reply.status = 304;
      reply.content_length = size;
      return ask->respond(std::move(reply));
    }
    const RangeAnswer range =
        IfRangeMatches(ask->if_range, tag) ? ParseRange(ask->range, size) : RangeAnswer{};
    if (range.kind == RangeKind::kUnsatisfiable) {
      reply = ErrorReply(RangeInvalid("the range lies outside the blob"), ask->head,
                         live->origin().ToString());
      reply.headers.emplace_back("Content-Range", UnsatisfiedContentRange(size));
      return ask->respond(std::move(reply));
    }
    std::string media_type(media::kOctets);
    if (range.kind == RangeKind::kWhole) {
      reply.body.push_back({"", live->file(), Bytes(0), size});
    } else if (range.ranges.size() == 1) {
      reply.status = 206;
      reply.headers.emplace_back("Content-Range", ContentRange(range.ranges.front(), size));
      reply.body.push_back(
          {"", live->file(), range.ranges.front().begin, range.ranges.front().end});
    } else {
      reply.status = 206;
      media_type = AddParts(reply, range, *live, media_type);
    }
    reply.headers.emplace_back("Content-Type", media_type);
    if (ask->head) {
      std::int64_t length = 0;
      for (const auto& part : reply.body) {
        length += static_cast<std::int64_t>(part.text.size()) + (part.end - part.begin).count();
      }
      reply.body.clear();
      reply.content_length = Bytes(length);
      return ask->respond(std::move(reply));
    }
    if (!live->proved()) reply.gate = live;
    reply.done = [self, live, remote = ask->remote](Bytes sent, bool whole) {
      self->ports_.counters.to_runtime += sent.count();
      if (!whole) {
        spdlog::debug("{}: {} of its bytes were sent to {}", ToString(live->digest()), sent.count(),
                      remote);
      }
    };
    ask->respond(std::move(reply));
  });
  Bound(ask);
}

void Mirror::PassOn(const SharedAsk& ask) {
  Bound(ask);
  ports_.pass_on(ask->pull, [self = shared_from_this(), ask](Result<PassedOn> answer) {
    if (!answer) return ask->respond(FetchErrorReply(answer.error(), true, ask->head));
    HttpReply reply;
    reply.status = answer->status;
    reply.headers = answer->headers;
    reply.headers.emplace_back("Content-Type", answer->media_type);
    reply.headers.emplace_back("Shoal-Source", "upstream");
    if (ask->pull.has_ns) reply.headers.emplace_back("OCI-Namespace", ask->pull.registry);
    if (ask->head) {
      reply.content_length = Bytes(static_cast<std::int64_t>(answer->body.size()));
    } else {
      reply.body.push_back({std::move(answer->body), nullptr, {}, {}});
    }
    ask->respond(std::move(reply));
  });
}

}  // namespace shoal::proxy
