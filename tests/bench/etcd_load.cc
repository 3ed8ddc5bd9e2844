// etcd_load: what index_load does, at etcd: a key for each peer and blob, under a lease of the
// peer's, with its record as the value; holders of a blob are a range of keys.
//
//   etcd_load TARGET put PEERS BLOBS NAMES FLIGHT       NAMES keys a transaction; 1: plain puts
//   etcd_load TARGET range PEERS BLOBS COUNT FLIGHT     FLIGHT requests wait for their answers
//
// Prints {"requests", "entries", "seconds", "p50_ms", "p99_ms"}; fails on any error.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "etcd.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;
using etcdserverpb::KV;
using etcdserverpb::PutRequest;

// About as long as a signed record.
const std::string kRecord(560, 'r');

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "etcd_load: %s\n", what.c_str());
  std::exit(1);
}

struct Options {
  std::string target;
  std::string verb;
  int peers = 0;
  int blobs = 0;
  int count = 0;
  int flight = 0;
};

// As index_load's: each blob is held by ten peers.
std::string BlobOf(int peer, int blob, const Options& options) {
  const long long all = std::max(1LL, static_cast<long long>(options.peers) * options.blobs / 10);
  const long long number = (static_cast<long long>(peer) * options.blobs + blob) % all;
  char text[80];
  std::snprintf(text, sizeof text, "blob/sha256:%064llx",
                static_cast<unsigned long long>(number) * 0x9e3779b97f4a7c15ULL);
  return text;
}

// One request under way. Answers come on the queue in any order.
struct Call {
  grpc::ClientContext context;
  grpc::Status status;
  Clock::time_point sent;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>> put;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::TxnResponse>> txn;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> range;
  etcdserverpb::PutResponse put_answer;
  etcdserverpb::TxnResponse txn_answer;
  etcdserverpb::RangeResponse range_answer;
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options),
        channel_(grpc::CreateChannel(options.target, grpc::InsecureChannelCredentials())),
        kv_(KV::NewStub(channel_)) {}

  // Returns how many requests there are.
  std::size_t Prepare() {
    if (options_.verb == "range") return static_cast<std::size_t>(options_.count);
    const auto leases = etcdserverpb::Lease::NewStub(channel_);
    for (int peer = 0; peer < options_.peers; ++peer) {
      etcdserverpb::LeaseGrantRequest request;
      request.set_ttl(3600);
      etcdserverpb::LeaseGrantResponse answer;
      grpc::ClientContext context;
      if (!leases->LeaseGrant(&context, request, &answer).ok()) Fail("no lease");
      leases_.push_back(answer.id());
    }
    a_peer_ = static_cast<std::size_t>((options_.blobs + options_.count - 1) / options_.count);
    return a_peer_ * static_cast<std::size_t>(options_.peers);
  }

  void Send(std::size_t number) {
    auto* call = new Call;
    call->sent = Clock::now();
    if (options_.verb == "range") {
      etcdserverpb::RangeRequest request;
      const auto blob =
          BlobOf(static_cast<int>(random_() % static_cast<unsigned>(options_.peers)),
                 static_cast<int>(random_() % static_cast<unsigned>(options_.blobs)), options_);
      request.set_key(blob + "/");
      request.set_range_end(blob + "0");  // the character after '/'
      request.set_limit(100);
      request.set_serializable(true);  // answered from memory, as an index server does
      call->range = kv_->AsyncRange(&call->context, request, &queue_);
      call->range->Finish(&call->range_answer, &call->status, call);
      return;
    }
    const auto peer = static_cast<int>(number / a_peer_);
    const int begin = static_cast<int>(number % a_peer_) * options_.count;
    if (options_.count == 1) {
      call->put = kv_->AsyncPut(&call->context, Put(peer, begin), &queue_);
      call->put->Finish(&call->put_answer, &call->status, call);
      return;
    }
    etcdserverpb::TxnRequest request;
    for (int blob = begin; blob < std::min(begin + options_.count, options_.blobs); ++blob) {
      *request.add_success()->mutable_request_put() = Put(peer, blob);
    }
    call->txn = kv_->AsyncTxn(&call->context, request, &queue_);
    call->txn->Finish(&call->txn_answer, &call->status, call);
  }

  // The next answer's time in milliseconds.
  double Take() {
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok) || !ok) Fail("the queue ended");
    const std::unique_ptr<Call> call(static_cast<Call*>(tag));
    if (!call->status.ok()) Fail(call->status.error_message());
    if (call->range && call->range_answer.kvs().empty()) Fail("found nobody");
    return std::chrono::duration<double, std::milli>(Clock::now() - call->sent).count();
  }

 private:
  PutRequest Put(int peer, int blob) const {
    PutRequest request;
    request.set_key(BlobOf(peer, blob, options_) + "/" + std::to_string(peer));
    request.set_value(kRecord);
    request.set_lease(leases_[static_cast<std::size_t>(peer)]);
    return request;
  }

  const Options options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<KV::Stub> kv_;
  grpc::CompletionQueue queue_;
  std::vector<std::int64_t> leases_;
  std::size_t a_peer_ = 1;
  std::mt19937 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) Fail("six words are needed; see the head of etcd_load.cc");
  const Options options{
      argv[1],           argv[2], std::atoi(argv[3]), std::atoi(argv[4]), std::atoi(argv[5]),
      std::atoi(argv[6])};
  Load load(options);
  const std::size_t all = load.Prepare();
  std::vector<double> times;
  times.reserve(all);
  const auto start = Clock::now();
  std::size_t sent = 0;
  while (times.size() < all) {
    while (sent < all && sent - times.size() < static_cast<std::size_t>(options.flight)) {
      load.Send(sent++);
    }
    times.push_back(load.Take());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[std::min(times.size() - 1,
                          static_cast<std::size_t>(share * static_cast<double>(times.size())))];
  };
  const long long entries = options.verb == "put"
                                ? static_cast<long long>(options.peers) * options.blobs
                                : static_cast<long long>(all);
  std::printf(
      "{\"requests\": %zu, \"entries\": %lld, \"seconds\": %.4f, \"p50_ms\": %.3f, \"p99_ms\": "
      "%.3f}\n",
      all, entries, seconds, at(0.5), at(0.99));
  return 0;
}
