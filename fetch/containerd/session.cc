#include "fetch/containerd/session.h"

#include <github.com/containerd/containerd/api/services/introspection/v1/introspection.grpc.pb.h>
#include <github.com/containerd/containerd/api/services/version/v1/version.grpc.pb.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "fetch/store/file.h"

namespace shoal::fetch {

namespace {

namespace content_api = containerd::services::content::v1;
namespace images_api = containerd::services::images::v1;
namespace introspection_api = containerd::services::introspection::v1;
namespace version_api = containerd::services::version::v1;

// What containerd itself allows by default (grpc.max_send_message_size).
constexpr int kMessageBytesMax = 16 << 20;

// Knocks with a plain connect: its errno says more than gRPC would, and a host without containerd
// never pays for a channel.
Status Knock(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.front() != '/' || socket.size() >= sizeof address.sun_path) {
    return Error{Code::kInvalid,
                 "store.containerd: \"" + socket + "\" is no absolute path of at most 107 bytes"};
  }
  std::memcpy(address.sun_path, socket.data(), socket.size());
  const File file(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (file.fd() < 0) return Error{Code::kExhausted, "no descriptor left to dial containerd"};
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(file.fd(), generic, sizeof address) == 0) return Ok();
  switch (errno) {
    case EACCES:
    case EPERM:
      return Error{Code::kDenied,
                   "containerd's socket " + socket +
                       " may not be opened: run as root or as a member of its group"};
    case ENOENT:
    case ECONNREFUSED:
      return Error{Code::kRetryLater, "nobody listens on " + socket + ": is containerd running?"};
    default:
      return Error{Code::kRetryLater, "dialling " + socket + ": " + std::strerror(errno)};
  }
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // A new session must not inherit the old one's wait before it reconnects.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix://" + socket, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// containerd labels what it pulls: "containerd.io/distribution.source.<host>" = "team/app,team/b".
std::vector<std::string> RepositoriesOf(const content_api::Info& info) {
  constexpr std::string_view kSource = "containerd.io/distribution.source.";
  std::vector<std::string> repositories;
  for (const auto& [label, value] : info.labels()) {
    if (!label.starts_with(kSource)) continue;
    const std::string host = label.substr(kSource.size());
    for (std::string_view rest = value; !rest.empty();) {
      const auto name = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      if (!name.empty()) repositories.push_back(host + "/" + std::string(name));
    }
  }
  return repositories;
}

}  // namespace

Session::Session(std::shared_ptr<grpc::Channel> channel, std::string name_space, Calls& calls)
    : channel_(std::move(channel)),
      name_space_(std::move(name_space)),
      calls_(calls),
      content_(channel_),
      images_(channel_),
      leases_(channel_),
      namespaces_(channel_) {}

Result<std::shared_ptr<Session>> Session::Dial(const std::string& socket,
                                               const std::string& name_space, Calls& calls) {
  if (Status knocked = Knock(socket); !knocked) return knocked.error();
  std::shared_ptr<Session> session(new Session(MakeChannel(socket), name_space, calls));
  if (Status asked = session->AskVersion(); !asked) return asked.error();
  if (Status asked = session->AskContentRoot(); !asked) return asked.error();
  return session;
}

Status Session::AskVersion() {
  Call call(calls_, "", kUnaryTimeout);
  version_api::VersionResponse response;
  const grpc::Status status =
      version_api::Version::NewStub(channel_)->Version(call.context(), {}, &response);
  if (!status.ok()) return ToError(status, "asking its version");
  version_ = response.version();
  return Ok();
}

Status Session::AskContentRoot() {
  Call call(calls_, "", kUnaryTimeout);
  introspection_api::PluginsRequest request;
  request.add_filters("type==io.containerd.content.v1");
  introspection_api::PluginsResponse response;
  const grpc::Status status = introspection_api::Introspection::NewStub(channel_)->Plugins(
      call.context(), request, &response);
  if (!status.ok()) return ToError(status, "asking for its plugins");
  for (const introspection_api::Plugin& plugin : response.plugins()) {
    const auto root = plugin.exports().find("root");
    if (root == plugin.exports().end()) continue;
    content_root_ = root->second;
    return Ok();
  }
  return Error{Code::kUnsupported, "containerd names no folder of its content store"};
}

Result<ContainerdInventory> Session::List() {
  ContainerdInventory inventory;
  if (Status listed = ListBlobs(inventory); !listed) return listed.error();
  if (Status listed = ListImages(inventory); !listed) return listed.error();
  return inventory;
}

Status Session::ListBlobs(ContainerdInventory& out) {
  Call call(calls_, name_space_, kUnaryTimeout);
  const auto stream = content_.List(call.context(), {});
  content_api::ListContentResponse page;
  bool full = false;
  while (stream->Read(&page)) {
    for (const content_api::Info& info : page.info()) {
      const Result<Digest> digest = ParseDigest(info.digest());
      if (!digest || info.size() < 0) continue;  // sha512 and friends are not ours to serve
      full = full || out.blobs.size() >= kInventoryBlobsMax;
      if (!full) out.blobs.push_back({*digest, Bytes(info.size()), RepositoriesOf(info)});
    }
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return ToError(status, "listing its content");
  if (full) spdlog::warn("containerd holds over {} blobs: the rest is left out", out.blobs.size());
  return Ok();
}

Status Session::ListImages(ContainerdInventory& out) {
  Call call(calls_, name_space_, kUnaryTimeout);
  images_api::ListImagesResponse response;
  const grpc::Status status = images_.List(call.context(), {}, &response);
  if (!status.ok()) return ToError(status, "listing its images");
  for (const images_api::Image& image : response.images()) {
    if (out.images.size() >= kInventoryImagesMax) {
      spdlog::warn("containerd has over {} images: the rest is left out", out.images.size());
      break;
    }
    const Result<Digest> digest = ParseDigest(image.target().digest());
    if (digest) out.images.push_back({image.name(), *digest});
  }
  return Ok();
}

}  // namespace shoal::fetch
