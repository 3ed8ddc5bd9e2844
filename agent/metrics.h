// Metrics: the agent's numbers in Prometheus' text format.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace shoal::agent {

// One number, read when it is asked for.
struct Metric {
  enum class Kind { kCounter, kGauge };
  std::string name;  // shoal_*, with its unit; counters end in _total
  std::string help;
  Kind kind = Kind::kGauge;
  std::function<double()> read;  // any thread
};

// What GET /metrics answers.
std::string RenderMetrics(const std::vector<Metric>& metrics);

}  // namespace shoal::agent
