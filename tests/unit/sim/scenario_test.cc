// Every scenario, small: the checkers are the test. ./dev sim runs them large.
#include "tests/sim/scenario.h"

#include <gtest/gtest.h>

#include <string>

namespace shoal::sim {
namespace {

// Sanitized builds are slow: fewer hosts there (tests/unit/CMakeLists.txt says how many).
constexpr std::uint32_t kHosts = SHOAL_SIM_HOSTS;

Options Small(const Scenario& scenario, std::uint64_t seed) {
  Options options;
  options.hosts = scenario.defaults.hosts < 100 ? scenario.defaults.hosts : kHosts;
  options.seed = seed;
  options.size_mib = scenario.test_size_mib;
  options.images = scenario.defaults.images > 1 ? static_cast<int>(kHosts / 3) : 1;
  return options;
}

void ExpectRight(const Options& options, const Result& result) {
  for (const std::string& failure : result.failures) ADD_FAILURE() << failure;
  if (!result.failures.empty()) ADD_FAILURE() << "again: " << options.Replay();
  EXPECT_GT(result.done, 0U);
}

class ScenarioTest : public testing::TestWithParam<const Scenario*> {};

TEST_P(ScenarioTest, EndsAsItShould) {
  Options options = Small(*GetParam(), 1);
  const Result result = RunScenario(*GetParam(), options);
  ExpectRight(options, result);
}

std::vector<const Scenario*> All() {
  std::vector<const Scenario*> all;
  for (const Scenario& scenario : Scenarios()) all.push_back(&scenario);
  return all;
}

std::string NameOf(const testing::TestParamInfo<const Scenario*>& info) {
  std::string name;
  for (const char* c = info.param->name; *c != 0; ++c) name += *c == '-' ? '_' : *c;
  return name;
}

TEST(IndexServerTest, LeadsAreReplacedWithOneAsWell) {
  const Scenario& scenario = *FindScenario("lead-death");
  Options options = Small(scenario, 2);
  options.index = true;
  ExpectRight(options, RunScenario(scenario, options));
}

TEST(IndexServerTest, KeepsABoundOnConnectionsToARegistryAsWell) {
  const Scenario& scenario = *FindScenario("bounded-registry");
  Options options = Small(scenario, 2);
  options.index = true;
  ExpectRight(options, RunScenario(scenario, options));
}

INSTANTIATE_TEST_SUITE_P(All, ScenarioTest, testing::ValuesIn(All()), NameOf);

TEST(ReplayTest, TheSameSeedGivesTheSameTrace) {
  for (const char* name : {"flash-crowd", "churn", "liars"}) {
    const Scenario& scenario = *FindScenario(name);
    Options once = Small(scenario, 7);
    Options again = Small(scenario, 7);
    Options other = Small(scenario, 8);
    once.hosts = again.hosts = other.hosts = 40;
    once.loss = again.loss = other.loss = 0.01;
    const std::uint64_t trace = RunScenario(scenario, once).trace;
    EXPECT_EQ(trace, RunScenario(scenario, again).trace) << name;
    EXPECT_NE(trace, RunScenario(scenario, other).trace) << name;
  }
}

}  // namespace
}  // namespace shoal::sim
