#include "registry-proxy/upstream/upstream_call.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/json.h"
#include "registry-proxy/names.h"
#include "registry-proxy/upstream/clock.h"

namespace shoal::proxy {
namespace {

constexpr Duration kRestraintDefault = std::chrono::seconds(2);
constexpr std::int64_t kRestraintSecondsMax = 600;  // a registry cannot put itself off for longer
constexpr std::size_t kKindsMax = 1000;
constexpr std::size_t kErrorBodyBytesMax = 8 << 10;
constexpr std::size_t kRedirectBytesMax = 8 << 10;

// The first message of an OCI error body, as far as it is there.
std::string MessageOf(const std::string& body) {
  auto json = ParseJson(body, kErrorBodyBytesMax);
  if (!json) return {};
  auto errors = GetArray(*json, "errors", 100);
  if (!errors || errors->size() == 0) return {};
  auto message = GetString(errors->at(0), "message", 300);
  return message ? ": " + *message : std::string();
}

bool IsSuccess(int status) { return status >= 200 && status < 300; }

}  // namespace

Duration Restraint::Left(const std::string& kind) {
  const std::lock_guard lock(mutex_);
  const auto it = until_.find(kind);
  if (it == until_.end()) return Duration(0);
  const Time now = Now();
  if (it->second > now) return it->second - now;
  until_.erase(it);
  return Duration(0);
}

void Restraint::Note(const std::string& kind, std::string_view retry_after) {
  Duration wait = kRestraintDefault;
  std::int64_t seconds = 0;
  const auto [end, error] =
      std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(), seconds);
  // A date is taken as the default: clocks differ, and registries send seconds.
  if (error == std::errc() && end == retry_after.data() + retry_after.size()) {
    wait = std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kRestraintSecondsMax));
  }
  const std::lock_guard lock(mutex_);
  if (until_.size() >= kKindsMax) until_.clear();  // forgetting is safe: they will say it again
  until_[kind] = Now() + wait;
}

std::string KnownRedirects::Find(const std::string& url) {
  const std::lock_guard lock(mutex_);
  return redirects_.Find(Now(), url);
}

void KnownRedirects::Note(const std::string& url, const std::string& target) {
  const std::lock_guard lock(mutex_);
  redirects_.Note(Now(), url, target);
}

void KnownRedirects::Forget(const std::string& url, const std::string& target) {
  const std::lock_guard lock(mutex_);
  redirects_.Forget(url, target);
}

UpstreamCall::UpstreamCall(Shared& shared, std::uint64_t affinity, UpstreamRequest request,
                           std::shared_ptr<fetch::HttpSink> reply)
    : shared_(shared),
      affinity_(affinity),
      request_(std::move(request)),
      reply_(std::move(reply)) {}

void UpstreamCall::Start() {
  authorization_ = shared_.authorizer.Known(request_.registry, request_.scope);
  if (const auto left = shared_.restraint.Left(request_.kind); left.count() > 0) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(left).count();
    request_.refused = Error{Code::kRetryLater,
                             request_.registry.host + " asked not to be asked for " +
                                 std::to_string(seconds) + " s more",
                             left};
  }
  Send();
}

void UpstreamCall::Send() {
  status_ = 0;
  challenges_.clear();
  error_body_.clear();
  fetch::HttpCall call;
  // What must not be sent goes through the client all the same, which refuses it: so every end is
  // told on the same data thread.
  call.method = request_.refused ? "NONE" : request_.method;
  target_.clear();
  if (request_.reuse_redirect && !target_failed_) target_ = shared_.redirects.Find(Url());
  call.url = target_.empty() ? Url() : target_;
  call.headers = request_.headers;
  // Another host is not to see what lets us in here.
  if (!authorization_.empty() && target_.empty())
    call.headers.emplace_back("Authorization", authorization_);
  call.ca_file = request_.registry.ca_file;
  call.insecure = request_.registry.insecure;
  call.follow_redirects = true;  // libcurl leaves Authorization behind on another host
  call.connect_timeout = request_.connect_timeout;
  call.stall_timeout = request_.stall_timeout;
  call.total_timeout = request_.total_timeout;
  call.affinity = affinity_;
  call.small = request_.small;
  call.close = request_.close;
  const auto id = shared_.client.Start(std::move(call), shared_from_this());
  running_.store(id);
  if (cancelled_.load()) shared_.client.Cancel(id);
}

void UpstreamCall::Cancel() {
  cancelled_.store(true);
  if (const auto id = running_.load(); id != 0) shared_.client.Cancel(id);
}

void UpstreamCall::OnTurn() {
  if (!cancelled_.load()) reply_->OnTurn();
}

bool UpstreamCall::OnHead(const fetch::HttpHead& head) {
  if (cancelled_.load()) return false;
  status_ = head.status;
  if (IsSuccess(status_)) {
    NoteRedirect(head);
    return reply_->OnHead(head);
  }
  if (!target_.empty()) return true;  // the registry will say what is wrong
  for (const auto& [name, value] : head.headers) {
    if (status_ != 401 || LowerCase(name) != "www-authenticate") continue;
    for (auto& challenge : ParseChallenges(value)) {
      if (challenges_.size() < kChallengesMax) challenges_.push_back(std::move(challenge));
    }
  }
  const auto retry_after = fetch::FindHeader(head.headers, "Retry-After");
  if (status_ == 429 || (status_ == 503 && !retry_after.empty())) {
    shared_.restraint.Note(request_.kind, retry_after);
  }
  return true;
}

bool UpstreamCall::OnBytes(ByteSpan bytes) {
  if (cancelled_.load()) return false;
  if (IsSuccess(status_)) return reply_->OnBytes(bytes);
  // The rest of an error's body is read, to keep the connection, but not kept.
  const std::size_t room = kErrorBodyBytesMax - error_body_.size();
  error_body_.append(AsText(bytes.first(std::min(room, bytes.size()))));
  return true;
}

void UpstreamCall::NoteRedirect(const fetch::HttpHead& head) {
  const std::string url = Url();
  const bool elsewhere = !head.url.empty() && fetch::HostOf(head.url) != fetch::HostOf(url);
  if (!request_.reuse_redirect || !elsewhere || head.url == target_) return;
  if (head.url.size() <= kRedirectBytesMax) shared_.redirects.Note(url, head.url);
}

void UpstreamCall::OnDone(Status status) {
  if (request_.refused) return Finish(*request_.refused);
  if (!target_.empty() && !(status.ok() && IsSuccess(status_))) {
    // A sink that wants no more is no fault of the target's.
    if (status.ok() || status.error().code != Code::kCancelled) {
      shared_.redirects.Forget(Url(), target_);
    }
    // Nothing was told yet of what the target said: the registry may do better.
    if (!IsSuccess(status_) && !cancelled_.load()) {
      target_failed_ = true;
      return Send();
    }
  }
  if (!status || IsSuccess(status_)) return Finish(std::move(status));
  if (status_ != 401 || authorized_ || challenges_.empty()) return Finish(StatusError());
  authorized_ = true;
  shared_.authorizer.Authorize(request_.registry, request_.scope, challenges_, authorization_,
                               [self = shared_from_this()](Result<std::string> authorization) {
                                 if (!authorization) return self->Finish(authorization.error());
                                 if (self->cancelled_.load())
                                   return self->Finish(Error{Code::kCancelled, "cancelled"});
                                 self->authorization_ = std::move(*authorization);
                                 self->Send();
                               });
}

void UpstreamCall::Finish(Status status) {
  if (!cancelled_.load()) reply_->OnDone(std::move(status));
  reply_.reset();
  over_();
}

Error UpstreamCall::StatusError() const {
  const std::string text = What() + " answers " + std::to_string(status_) + MessageOf(error_body_);
  if (status_ == 404 || status_ == 410) return Error{Code::kNotFound, text};
  if (status_ == 401 || status_ == 403) {
    return Error{Code::kDenied, text + "; check the name, and the credentials in its [[registry]]"};
  }
  if (status_ == 405 || status_ == 501) return Error{Code::kUnsupported, text};
  if (status_ == 408 || status_ == 425 || status_ == 429 || status_ >= 500) {
    return Error{Code::kRetryLater, text, shared_.restraint.Left(request_.kind)};
  }
  return Error{Code::kInvalid, text};
}

std::string UpstreamCall::What() const {
  return request_.registry.host + " (" + request_.method + " " + BaseUrl(request_.registry) +
         request_.path + ")";
}

}  // namespace shoal::proxy
