// index_load: many agents at one index server, from one process. The requests are made and signed
// before the clock starts, so that a bench on a small machine measures the server.
//
//   index_load [--cert PEM --key PEM] --server ID [--connections N] [--depth N] [--first N]
//              [--namespace NAME]
//              ADDRESS PORT register PEERS BLOBS NAMES   NAMES namespaces a request
//              ADDRESS PORT discover PEERS BLOBS COUNT   of blobs registered by `register`
//
// With --namespace each agent registers in this one, and BLOBS is 1.
//
// Without a certificate each agent registers on a connection of its own, with its own key, as
// agents do; N of them have a request under way at once. With one, N connections register for all
// agents.
//
// Prints {"requests", "entries", "seconds", "p50_ms", "p99_ms", "bytes", "record_bytes"}; fails on
// any answer that is not OK. record_bytes: of the last agent's record.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/rng.h"
#include "index/record.h"
#include "index/rendezvous_messages.h"
#include "index/signing_key.h"
#include "tests/bench/connection.h"

namespace {

using shoal::index::SigningKey;
using Clock = std::chrono::steady_clock;

struct Options {
  Server at;
  std::string server;  // its id
  int connections = 8;
  int depth = 1;   // requests on one connection that wait for their answers
  int first = 0;   // peer
  std::string in;  // namespace
  std::string verb;
  int peers = 0;
  int blobs = 0;
  int count = 0;
};

// Answers of a connection, one after the other.
class Answers {
 public:
  explicit Answers(Connection& connection) : connection_(connection) {}

  // The body of the next answer; valid until the next call.
  std::string_view Next() {
    in_.erase(0, used_);
    std::size_t end = std::string::npos;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos) More();
    const char* length = strcasestr(in_.c_str(), "\r\ncontent-length:");
    const int status = std::atoi(in_.c_str() + 9);
    if (length == nullptr) Fail("answered: " + in_.substr(0, end));
    used_ = end + 4 + static_cast<std::size_t>(std::atol(length + 17));
    while (in_.size() < used_) More();
    const std::string_view body(in_.data() + end + 4, used_ - end - 4);
    if (status != 200) Fail("answered " + std::to_string(status) + ": " + std::string(body));
    return body;
  }

 private:
  void More() {
    char buffer[16 << 10];
    const long got = connection_.Read(buffer, sizeof buffer);
    if (got <= 0) Fail("closed in the middle of an answer");
    in_.append(buffer, static_cast<std::size_t>(got));
  }

  Connection& connection_;
  std::string in_;
  std::size_t used_ = 0;
};

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

shoal::index::KeySeed SeedOf(int peer) {
  shoal::index::KeySeed seed{};
  std::memcpy(seed.data(), &peer, sizeof peer);
  return seed;
}
SigningKey KeyOf(int peer) { return SigningKey::FromSeed(SeedOf(peer)); }

// Each blob is held by ten peers.
std::string NamespaceOf(int peer, int blob, const Options& options) {
  if (!options.in.empty()) return options.in;
  const std::int64_t all =
      std::max<std::int64_t>(1, std::int64_t{options.peers} * options.blobs / 10);
  const std::int64_t number = (std::int64_t{peer} * options.blobs + blob) % all;
  char text[80];
  std::snprintf(text, sizeof text, "blob/sha256:%064llx",
                static_cast<unsigned long long>(number) * 0x9e3779b97f4a7c15ULL);
  return text;
}

std::string Post(const std::string& body) {
  return "POST /v1/register HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Returns the bytes of the agent's record.
std::size_t AddRegistrations(const Options& options, int peer, std::vector<std::string>& out) {
  const SigningKey key = KeyOf(peer);
  shoal::index::Record record;
  record.key = key.public_key();
  record.name = "host-" + std::to_string(peer);
  record.endpoints = {{"10." + std::to_string(peer >> 16 & 255) + "." +
                           std::to_string(peer >> 8 & 255) + "." + std::to_string(peer & 255),
                       7381}};
  record.rooms = {"open"};
  const std::int64_t now = NowMs();
  record.sequence = static_cast<std::uint64_t>(now) * 1000;
  record.expires = shoal::FromUnixMs(now + 3'600'000);
  const auto signed_record = shoal::index::SignedRecord::Sign(record, key);
  const auto server = *shoal::ParsePeerId(options.server);
  shoal::index::Registrations::Request request{
      .namespaces = {}, .record = signed_record, .ttl = std::chrono::hours(1), .sent_ms = now};
  for (int blob = 0; blob < options.blobs; blob += options.count) {
    request.namespaces.clear();
    for (int i = blob; i < std::min(blob + options.count, options.blobs); ++i) {
      request.namespaces.push_back(NamespaceOf(peer, i, options));
    }
    ++request.sent_ms;
    out.push_back(Post(shoal::index::EncodeRequest(shoal::index::RendezvousVerb::kRegister, request,
                                                   server, key)));
  }
  return signed_record.envelope().size();
}

// What is asked over one connection.
struct Work {
  std::vector<std::string> requests;
  std::unique_ptr<Connection> connection;
  std::size_t record_bytes = 0;
};

Work WorkOverOne(const Options& options, int connection) {
  Work work{{}, std::make_unique<Connection>(options.at)};
  if (options.verb == "register") {
    for (int peer = connection; peer < options.peers; peer += options.connections) {
      work.record_bytes = AddRegistrations(options, options.first + peer, work.requests);
    }
    return work;
  }
  shoal::Rng rng(static_cast<std::uint64_t>(connection) + 1);
  for (int i = connection; i < options.count; i += options.connections) {
    const auto peer = static_cast<int>(rng.Below(static_cast<std::uint64_t>(options.peers)));
    const auto blob = static_cast<int>(rng.Below(static_cast<std::uint64_t>(options.blobs)));
    work.requests.push_back("GET /v1/discover?namespace=" + NamespaceOf(peer, blob, options) +
                            " HTTP/1.1\r\nHost: bench\r\n\r\n");
  }
  return work;
}

std::vector<Work> WorkOf(const Options& options, int thread) {
  std::vector<Work> all;
  if (options.verb != "register" || !options.at.cert.empty()) {
    all.push_back(WorkOverOne(options, thread));
    return all;
  }
  for (int peer = thread; peer < options.peers; peer += options.connections) {
    Server at = options.at;
    const auto seed = SeedOf(options.first + peer);
    at.seed.assign(reinterpret_cast<const char*>(seed.data()), seed.size());
    all.push_back({{}, std::make_unique<Connection>(at)});
    Work& work = all.back();
    work.record_bytes = AddRegistrations(options, options.first + peer, work.requests);
  }
  return all;
}

struct Counts {
  std::vector<double> times_ms;
  std::size_t bytes = 0;
  std::size_t record_bytes = 0;
};

void Run(const Options& options, const std::vector<std::string>& requests, Connection& connection,
         Counts& counts) {
  Answers answers(connection);
  std::deque<Clock::time_point> sent;
  std::size_t next = 0;
  while (next < requests.size() || !sent.empty()) {
    if (next < requests.size() && std::ssize(sent) < options.depth) {
      sent.push_back(Clock::now());
      connection.Send(requests[next++]);
      continue;
    }
    const std::string_view body = answers.Next();
    if (body.find("\"OK\"") == std::string_view::npos) Fail("answered " + std::string(body));
    if (options.verb == "discover" && body.find("\"payload\"") == std::string_view::npos) {
      Fail("found nobody: " + std::string(body));
    }
    counts.bytes += body.size();
    counts.times_ms.push_back(
        std::chrono::duration<double, std::milli>(Clock::now() - sent.front()).count());
    sent.pop_front();
  }
}

Options Parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> plain;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      plain.push_back(word);
      continue;
    }
    if (i + 1 == argc) Fail(word + " needs a value");
    const std::string value = argv[++i];
    if (word == "--cert") options.at.cert = value;
    if (word == "--key") options.at.key = value;
    if (word == "--server") options.server = value;
    if (word == "--connections") options.connections = std::atoi(value.c_str());
    if (word == "--depth") options.depth = std::atoi(value.c_str());
    if (word == "--first") options.first = std::atoi(value.c_str());
    if (word == "--namespace") options.in = value;
  }
  if (plain.size() != 6) Fail("six words are needed; see the head of index_load.cc");
  options.at.address = plain[0];
  options.at.port = std::atoi(plain[1].c_str());
  options.verb = plain[2];
  options.peers = std::atoi(plain[3].c_str());
  options.blobs = std::atoi(plain[4].c_str());
  options.count = std::atoi(plain[5].c_str());
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  std::vector<Counts> counts(static_cast<std::size_t>(options.connections));
  std::latch ready(options.connections + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < options.connections; ++i) {
    threads.emplace_back([&, i] {
      const auto all = WorkOf(options, i);
      ready.arrive_and_wait();
      Counts& mine = counts[static_cast<std::size_t>(i)];
      for (const Work& work : all) {
        mine.record_bytes = work.record_bytes;
        Run(options, work.requests, *work.connection, mine);
      }
    });
  }
  ready.arrive_and_wait();
  const auto start = Clock::now();
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::vector<double> times;
  std::size_t bytes = 0;
  for (const Counts& one : counts) {
    times.insert(times.end(), one.times_ms.begin(), one.times_ms.end());
    bytes += one.bytes;
  }
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[std::min(times.size() - 1,
                          static_cast<std::size_t>(share * static_cast<double>(times.size())))];
  };
  const long long entries = options.verb == "register"
                                ? static_cast<long long>(options.peers) * options.blobs
                                : static_cast<long long>(times.size());
  std::printf(
      "{\"requests\": %zu, \"entries\": %lld, \"seconds\": %.4f, \"p50_ms\": %.3f, \"p99_ms\": "
      "%.3f, \"bytes\": %zu, \"record_bytes\": %zu}\n",
      times.size(), entries, seconds, at(0.5), at(0.99), bytes, counts.front().record_bytes);
  return 0;
}
