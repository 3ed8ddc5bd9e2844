#include "registry-proxy/upstream/ranged_upstream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "base/check.h"
#include "base/rng.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

using namespace std::chrono_literals;
using namespace literals;

constexpr std::size_t kLarge = 120 << 20;

// The same bytes for all tests: random ones take long to make in a sanitized build.
std::string Content(std::size_t size) {
  static const std::string all = [] {
    std::string bytes(kLarge + 1024, '\0');
    Rng rng(1);
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t word = rng.Next();
      std::memcpy(bytes.data() + at, &word, sizeof word);
    }
    return bytes;
  }();
  SHOAL_CHECK(size <= all.size());
  return all.substr(0, size);
}

// A registry in virtual time: each request gets so many bytes a step.
class FakeRegistry {
 public:
  explicit FakeRegistry(std::size_t size) : blob(Content(size)) {}

  RangedUpstream::Ports Ports() {
    return {[this](const fetch::UpstreamRef&, const Digest&, Bytes offset, Bytes end, bool exact,
                   std::shared_ptr<fetch::ByteSink> sink) {
              const auto last = end < 0_B ? blob.size() : static_cast<std::size_t>(end.count());
              requests[++last_id] = {static_cast<std::size_t>(offset.count()), last, exact, false,
                                     std::move(sink)};
              ++asked;
              return last_id;
            },
            [this](fetch::UpstreamPort::CallId id) { requests.erase(id); }, [this] { return now; },
            [this](const std::string&) { return bound; },
            [this](fetch::UpstreamPort::CallId, const std::string&) { ++uses_told; }};
  }

  void Step() {
    now += 10ms;
    std::vector<std::uint64_t> ids;
    for (const auto& [id, request] : requests) ids.push_back(id);
    most = std::max(most, ids.size());
    for (const auto id : ids) {
      if (requests.contains(id)) Give(id);
    }
  }
  void End(std::uint64_t id, Status status) {
    const auto sink = requests.at(id).sink;
    requests.erase(id);
    sink->OnDone(std::move(status));
  }

  struct Request {
    std::size_t at = 0;
    std::size_t end = 0;
    bool exact = false;
    bool started = false;
    std::shared_ptr<fetch::ByteSink> sink;
  };
  std::string blob;
  std::size_t each = 100'000;  // a step
  int bound = 0;
  int uses_told = 0;
  Code refuse = Code::kUnsupported;
  bool ranges = true;
  Time now{1h};
  std::uint64_t last_id = 0;
  std::size_t most = 0;
  int asked = 0;
  std::size_t sent = 0;
  std::map<std::uint64_t, Request> requests;

 private:
  void Give(std::uint64_t id) {
    Request& request = requests.at(id);
    const auto sink = request.sink;
    const Bytes size(static_cast<std::int64_t>(blob.size()));
    if (!request.started) {
      request.started = true;
      if (request.exact && !ranges) return End(id, Error{refuse, "no ranges"});
      if (!sink->OnStart(size, Bytes(static_cast<std::int64_t>(request.at)))) {
        return End(id, Error{Code::kCancelled, "stopped"});
      }
    }
    const std::size_t count = std::min(each, request.end - request.at);
    const std::string_view part = std::string_view(blob).substr(request.at, count);
    request.at += count;
    sent += count;
    const bool over = request.at == request.end;
    const bool more = part.empty() || sink->OnBytes(AsBytes(part));
    if (!requests.contains(id)) return;
    if (over) return End(id, Ok());
    if (!more) End(id, Error{Code::kCancelled, "stopped"});
  }
};

class Recorder : public fetch::ByteSink {
 public:
  bool OnStart(Bytes blob, Bytes offset) override {
    EXPECT_FALSE(start);
    size = blob;
    start = offset;
    return true;
  }
  bool OnBytes(ByteSpan bytes) override {
    EXPECT_FALSE(done);
    body.append(AsText(bytes));
    return body.size() < stop_after;
  }
  void OnTurn() override { ++turns; }
  void OnDone(Status status) override {
    EXPECT_FALSE(done);
    done = std::move(status);
  }

  int turns = 0;
  std::optional<Bytes> start;
  Bytes size;
  std::string body;
  std::size_t stop_after = ~std::size_t{0};
  std::optional<Status> done;
};

class RangedUpstreamTest : public testing::Test {
 protected:
  void Start(std::size_t size, std::int64_t offset = 0, std::int64_t end = -1,
             RangedUpstream::Options options = {}, int bound = 0) {
    registry.emplace(size);
    registry->bound = bound;
    upstream.emplace(registry->Ports(), options);
    sink = std::make_shared<Recorder>();
    call = upstream->Fetch({"r", "a/b", false}, Digest{}, Bytes(offset), Bytes(end), sink);
  }
  void Run() {
    for (int i = 0; i < 100'000 && !sink->done; ++i) registry->Step();
    ASSERT_TRUE(sink->done);
  }
  void RunUntil(std::size_t connections) {
    for (int i = 0; i < 100'000 && registry->requests.size() < connections; ++i) registry->Step();
    ASSERT_EQ(registry->requests.size(), connections);
  }

  std::optional<FakeRegistry> registry;
  std::optional<RangedUpstream> upstream;
  std::shared_ptr<Recorder> sink;
  fetch::UpstreamPort::CallId call = 0;
};

TEST_F(RangedUpstreamTest, FourConnectionsBringOneBlobInOrder) {
  Start(kLarge + 77);
  Run();
  EXPECT_TRUE(sink->done->ok());
  EXPECT_TRUE(sink->body == registry->blob);
  EXPECT_EQ(registry->most, 4U);
  EXPECT_LE(registry->sent, registry->blob.size() + 500'000);  // the first stream was cut once
  EXPECT_TRUE(registry->requests.empty());
}

TEST_F(RangedUpstreamTest, SmallPartsAndEmptyOnesAreOneRequest) {
  for (const auto& [size, offset, end] :
       {std::tuple{0, 0, -1}, {1, 0, -1}, {1000, 1000, -1}, {1000, 10, 900}, {5 << 20, 99, -1}}) {
    Start(static_cast<std::size_t>(size), offset, end);
    Run();
    EXPECT_TRUE(sink->done->ok());
    EXPECT_EQ(sink->start, Bytes(offset));
    EXPECT_TRUE(sink->body ==
                registry->blob.substr(
                    static_cast<std::size_t>(offset),
                    end < 0 ? std::string::npos : static_cast<std::size_t>(end - offset)));
    EXPECT_EQ(registry->asked, 1);
  }
}

TEST_F(RangedUpstreamTest, APartOfALargeBlobEndsWhereItWasAskedTo) {
  Start(kLarge, 1000, 100 << 20);
  Run();
  EXPECT_TRUE(sink->body == registry->blob.substr(1000, (100 << 20) - 1000));
  EXPECT_GE(registry->most, 2U);
}

TEST_F(RangedUpstreamTest, ARegistryWithoutRangesIsReadByOneStream) {
  for (const Code code : {Code::kUnsupported, Code::kDenied, Code::kInvalid}) {
    Start(kLarge);
    registry->ranges = false;
    registry->refuse = code;
    Run();
    EXPECT_TRUE(sink->done->ok());
    EXPECT_TRUE(sink->body == registry->blob);
    EXPECT_EQ(registry->asked, 2);
    EXPECT_EQ(registry->sent, registry->blob.size());
  }
}

TEST_F(RangedUpstreamTest, ACutConnectionResumes) {
  Start(kLarge);
  RunUntil(4);
  registry->End(registry->requests.begin()->first, Error{Code::kRetryLater, "cut"});
  Run();
  EXPECT_TRUE(sink->done->ok());
  EXPECT_TRUE(sink->body == registry->blob);
}

TEST_F(RangedUpstreamTest, ARegistryThatWantsAPauseIsLeftAlone) {
  Start(kLarge);
  RunUntil(3);
  registry->End(registry->requests.begin()->first, Error{Code::kRetryLater, "429", 30s});
  ASSERT_TRUE(sink->done);
  EXPECT_EQ(sink->done->error().retry_after, 30s);
  EXPECT_TRUE(registry->requests.empty());
  EXPECT_TRUE(registry->blob.starts_with(sink->body));
}

TEST_F(RangedUpstreamTest, AnErrorOfTheOnlyStreamIsPassedOn) {
  Start(kLarge);
  registry->End(1, Error{Code::kNotFound, "no such blob"});
  ASSERT_TRUE(sink->done);
  EXPECT_EQ(sink->done->error().code, Code::kNotFound);
  EXPECT_EQ(registry->asked, 1);
}

TEST_F(RangedUpstreamTest, ASinkThatHasEnoughEndsAllConnections) {
  Start(kLarge);
  sink->stop_after = 50 << 20;
  Run();
  EXPECT_EQ(sink->done->error().code, Code::kCancelled);
  EXPECT_GE(registry->most, 2U);
  EXPECT_TRUE(registry->requests.empty());
}

TEST_F(RangedUpstreamTest, CancelEndsAllConnectionsAndTheSinkHearsNoMore) {
  Start(kLarge);
  RunUntil(4);
  upstream->Cancel(call);
  EXPECT_TRUE(registry->requests.empty());
  EXPECT_FALSE(sink->done);
}

TEST_F(RangedUpstreamTest, TheEndOfThePortCancels) {
  Start(kLarge);
  RunUntil(2);
  upstream.reset();
  EXPECT_TRUE(registry->requests.empty());
  EXPECT_FALSE(sink->done);
}

TEST_F(RangedUpstreamTest, WithoutBuffersOneConnectionDoes) {
  Start(kLarge, 0, -1, {4, 0_B});
  Run();
  EXPECT_TRUE(sink->body == registry->blob);
  EXPECT_EQ(registry->most, 1U);
}

TEST_F(RangedUpstreamTest, BuffersAreGivenBack) {
  Start(kLarge, 0, -1, {4, kRange * 3});
  for (int i = 0; i < 3; ++i) {
    RunUntil(4);
    if (i == 0) {
      upstream->Cancel(call);
    } else {
      Run();
      EXPECT_TRUE(sink->body == registry->blob);
    }
    sink = std::make_shared<Recorder>();
    call = upstream->Fetch({"r", "a/b", false}, Digest{}, 0_B, Bytes(-1), sink);
  }
}

TEST_F(RangedUpstreamTest, TheSinkHearsOfTheFirstTurn) {
  Start(kLarge);
  EXPECT_EQ(sink->turns, 0);
  registry->requests.begin()->second.sink->OnTurn();
  EXPECT_EQ(sink->turns, 1);
  RunUntil(2);
  registry->requests.rbegin()->second.sink->OnTurn();
  EXPECT_EQ(sink->turns, 1);
}

TEST_F(RangedUpstreamTest, WithABoundACallWaitsForItsShare) {
  Start(1000, 0, -1, {}, 4);
  for (int i = 0; i < 10; ++i) registry->Step();
  EXPECT_EQ(registry->asked, 0);
  EXPECT_EQ(registry->uses_told, 1);
  ASSERT_TRUE(upstream->UseOf(call));
  EXPECT_EQ(upstream->UseOf(call)->open, 0);
  const auto use = upstream->SetShare(call, 1);
  ASSERT_TRUE(use);
  EXPECT_EQ(use->open, 1);
  EXPECT_TRUE(use->begun);
  Run();
  EXPECT_TRUE(sink->body == registry->blob);
  EXPECT_FALSE(upstream->UseOf(call)) << "over, and nothing open";
}

TEST_F(RangedUpstreamTest, ItOpensNoMoreThanItsShareAndSaysWhatItWouldUse) {
  Start(kLarge, 0, -1, {}, 4);
  upstream->SetShare(call, 1);
  for (int i = 0; i < 400; ++i) registry->Step();
  EXPECT_EQ(registry->most, 1U);
  EXPECT_EQ(upstream->UseOf(call)->wish, 2);
  upstream->SetShare(call, 2);
  for (int i = 0; i < 100; ++i) registry->Step();
  EXPECT_EQ(registry->most, 2U);
  EXPECT_EQ(upstream->UseOf(call)->open, 2);
  // Taken back: what runs goes on to the end of its range.
  EXPECT_EQ(upstream->SetShare(call, 1)->open, 2);
  int steps = 0;
  while (upstream->UseOf(call)->open == 2 && steps < 1000) registry->Step(), ++steps;
  EXPECT_LT(steps, 60);
  registry->most = 0;
  Run();
  EXPECT_EQ(registry->most, 1U);
  EXPECT_TRUE(sink->body == registry->blob);
}

TEST_F(RangedUpstreamTest, AShareThatComesAndGoesNeitherLosesNorExceedsAnything) {
  for (std::uint64_t seed = 1; seed <= std::uint64_t(Rounds(6)); ++seed) {
    Rng rng(seed);
    Start(60 << 20, 0, -1, {}, 4);
    int share = 0;
    for (int i = 0; i < 100'000 && !sink->done; ++i) {
      if (rng.Below(30) == 0) {
        share = static_cast<int>(rng.Below(5));
        upstream->SetShare(call, share);
      }
      const std::size_t before = registry->requests.size();
      registry->Step();
      EXPECT_LE(registry->requests.size(),
                std::max(before, static_cast<std::size_t>(std::max(share, 1))));
    }
    ASSERT_TRUE(sink->done && sink->done->ok());
    EXPECT_TRUE(sink->body == registry->blob);
    EXPECT_FALSE(upstream->UseOf(call));
  }
}

TEST_F(RangedUpstreamTest, ACancelledCallHoldsItsSlotsUntilItsConnectionsAreClosed) {
  Start(kLarge, 0, -1, {}, 4);
  upstream->SetShare(call, 1);
  const auto held = registry->requests.begin()->second.sink;  // as a client that is still closing
  upstream->Cancel(call);
  ASSERT_TRUE(upstream->UseOf(call));
  EXPECT_TRUE(upstream->UseOf(call)->over);
  EXPECT_EQ(upstream->UseOf(call)->open, 1);
  EXPECT_EQ(upstream->SetShare(call, 3)->open, 1);
  EXPECT_TRUE(registry->requests.empty());
}

TEST_F(RangedUpstreamTest, ACallThatIsCancelledWhileItWaitsIsOver) {
  Start(kLarge, 0, -1, {}, 4);
  upstream->Cancel(call);
  EXPECT_FALSE(upstream->UseOf(call));
  EXPECT_FALSE(upstream->SetShare(call, 1));
  EXPECT_EQ(registry->asked, 0);
}

TEST_F(RangedUpstreamTest, AllBytesComeInOrderWhateverIsCut) {
  int whole = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    Start(60 << 20);
    registry->each = 50'000 + rng.Below(200'000);
    while (!sink->done) {
      registry->Step();
      if (registry->requests.empty() || rng.Below(200) > 0) continue;
      auto it = registry->requests.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(rng.Below(registry->requests.size())));
      const Code code = rng.Below(3) == 0 ? Code::kDenied : Code::kRetryLater;
      registry->End(it->first, Error{code, "cut"});
    }
    EXPECT_TRUE(registry->blob.starts_with(sink->body));
    if (!sink->done->ok()) continue;
    ++whole;
    EXPECT_EQ(sink->body.size(), registry->blob.size());
  }
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace shoal::proxy
