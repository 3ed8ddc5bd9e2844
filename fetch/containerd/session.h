// Session: one connection to one running containerd. It ends with that containerd.
#pragma once

#include <github.com/containerd/containerd/api/services/content/v1/content.grpc.pb.h>
#include <github.com/containerd/containerd/api/services/images/v1/images.grpc.pb.h>
#include <github.com/containerd/containerd/api/services/leases/v1/leases.grpc.pb.h>
#include <github.com/containerd/containerd/api/services/namespaces/v1/namespace.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "fetch/containerd/calls.h"
#include "fetch/containerd/containerd.h"

namespace shoal::fetch {

// Long enough for a containerd that collects garbage under load, short enough to notice a dead one.
inline constexpr Duration kUnaryTimeout = std::chrono::seconds(30);

// More than any host holds (a busy one has a few thousand); the rest is left out, and said so.
inline constexpr std::size_t kInventoryBlobsMax = 200'000;
inline constexpr std::size_t kInventoryImagesMax = 50'000;

// Thread-safe, as gRPC's stubs are.
class Session {
 public:
  // Dials `socket` and asks who is there. Blocks.
  //
  // calls   ends what is under way; must outlive the session.
  // Errors  kRetryLater when nobody listens, kDenied when the socket may not be opened.
  static Result<std::shared_ptr<Session>> Dial(const std::string& socket,
                                               const std::string& name_space, Calls& calls);

  [[nodiscard]] const std::string& version() const { return version_; }
  [[nodiscard]] const std::string& content_root() const { return content_root_; }
  [[nodiscard]] const std::string& name_space() const { return name_space_; }
  [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  [[nodiscard]] Calls& calls() const { return calls_; }

  // All that the namespace holds now; what is being written is not in it. Blocks.
  Result<ContainerdInventory> List();

  containerd::services::content::v1::Content::Stub& content() { return content_; }
  containerd::services::images::v1::Images::Stub& images() { return images_; }
  containerd::services::leases::v1::Leases::Stub& leases() { return leases_; }
  containerd::services::namespaces::v1::Namespaces::Stub& namespaces() { return namespaces_; }

 private:
  Session(std::shared_ptr<grpc::Channel> channel, std::string name_space, Calls& calls);
  Status AskVersion();
  Status AskContentRoot();
  Status ListBlobs(ContainerdInventory& out);
  Status ListImages(ContainerdInventory& out);

  std::shared_ptr<grpc::Channel> channel_;  // owners: we and our stubs
  std::string name_space_;
  Calls& calls_;
  std::string version_;
  std::string content_root_;
  containerd::services::content::v1::Content::Stub content_;
  containerd::services::images::v1::Images::Stub images_;
  containerd::services::leases::v1::Leases::Stub leases_;
  containerd::services::namespaces::v1::Namespaces::Stub namespaces_;
};

}  // namespace shoal::fetch
