#include "fetch/containerd/ingest.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <random>
#include <string>
#include <utility>

#include "fetch/containerd/blob_writer.h"

namespace shoal::fetch {

namespace {

namespace images_api = containerd::services::images::v1;
namespace leases_api = containerd::services::leases::v1;
namespace namespaces_api = containerd::services::namespaces::v1;

// 1 TB at the slowest rate measured (254 MB/s); after a crash of ours, so long is space lost.
constexpr std::chrono::hours kLeaseTime{1};

// An image has a few dozen blobs; indexes of many platforms have a few hundred.
constexpr std::size_t kBlobsMax = 10'000;

class Lease {
 public:
  static Result<Lease> Take(Session& session);

  [[nodiscard]] const std::string& id() const { return id_; }
  // collect  also collects what nothing else refers to before it returns.
  void GiveUp(bool collect);

 private:
  Lease(Session& session, std::string id) : session_(session), id_(std::move(id)) {}

  Session& session_;
  std::string id_;
};

Result<Lease> Lease::Take(Session& session) {
  std::random_device random;
  Lease lease(session, fmt::format("shoal-{:08x}{:08x}", random(), random()));
  const auto expiry = std::chrono::system_clock::now() + kLeaseTime;
  leases_api::CreateRequest request;
  request.set_id(lease.id());
  (*request.mutable_labels())["containerd.io/gc.expire"] = fmt::format(
      "{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(expiry)));
  Call call(session.calls(), session.name_space(), kUnaryTimeout);
  leases_api::CreateResponse response;
  const grpc::Status status = session.leases().Create(call.context(), request, &response);
  if (!status.ok()) return ToError(status, "taking a lease");
  return lease;
}

void Lease::GiveUp(bool collect) {
  leases_api::DeleteRequest request;
  request.set_id(id_);
  request.set_sync(collect);
  Call call(session_.calls(), session_.name_space(), kUnaryTimeout);
  google::protobuf::Empty response;
  const grpc::Status status = session_.leases().Delete(call.context(), request, &response);
  if (!status.ok()) {
    spdlog::debug("containerd: lease {} stays until it expires: {}", id_, status.error_message());
  }
}

Status EnsureNamespace(Session& session) {
  namespaces_api::CreateNamespaceRequest request;
  request.mutable_namespace_()->set_name(session.name_space());
  // Named in the metadata too: containerd publishes the event of its making in it.
  Call call(session.calls(), session.name_space(), kUnaryTimeout);
  namespaces_api::CreateNamespaceResponse response;
  const grpc::Status status = session.namespaces().Create(call.context(), request, &response);
  if (status.ok() || status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return Ok();
  return ToError(status, "making namespace " + session.name_space());
}

images_api::Image ToApi(const IngestImage& image) {
  images_api::Image out;
  out.set_name(image.name);
  out.mutable_target()->set_media_type(image.media_type);
  out.mutable_target()->set_digest(ToString(image.target));
  out.mutable_target()->set_size(image.target_size.count());
  return out;
}

Status UpdateImage(Session& session, const IngestImage& image) {
  images_api::UpdateImageRequest request;
  *request.mutable_image() = ToApi(image);
  request.mutable_update_mask()->add_paths("target");
  Call call(session.calls(), session.name_space(), kUnaryTimeout);
  images_api::UpdateImageResponse response;
  const grpc::Status status = session.images().Update(call.context(), request, &response);
  if (!status.ok()) return ToError(status, "updating image " + image.name);
  return Ok();
}

Status PutImage(Session& session, const IngestImage& image) {
  images_api::CreateImageRequest request;
  *request.mutable_image() = ToApi(image);
  Call call(session.calls(), session.name_space(), kUnaryTimeout);
  images_api::CreateImageResponse response;
  const grpc::Status status = session.images().Create(call.context(), request, &response);
  if (status.ok()) return Ok();
  if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return UpdateImage(session, image);
  return ToError(status, "making image " + image.name);
}

Status PutAll(Session& session, const Lease& lease, const IngestImage& image) {
  BlobWriter writer(session, lease.id());
  for (const IngestBlob& blob : image.blobs) {
    if (Status put = writer.Put(blob); !put) return put;
  }
  return PutImage(session, image);
}

Status PutUnderLease(Session& session, const IngestImage& image) {
  if (Status made = EnsureNamespace(session); !made) return made;
  Result<Lease> lease = Lease::Take(session);
  if (!lease) return lease.error();
  Status put = PutAll(session, *lease, image);
  lease->GiveUp(!put.ok());
  return put;
}

}  // namespace

Status IngestInto(Session& session, const IngestImage& image) {
  if (image.blobs.size() > kBlobsMax) {
    return Error{Code::kExhausted,
                 fmt::format("{}: {} blobs are more than the {} an image may have", image.name,
                             image.blobs.size(), kBlobsMax)};
  }
  Status put = PutUnderLease(session, image);
  if (put) return put;
  Error error = put.error().In(image.name);
  if (session.calls().cancelled()) error.code = Code::kCancelled;
  return error;
}

}  // namespace shoal::fetch
