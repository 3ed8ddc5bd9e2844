#include "agent/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <utility>

namespace shoal::agent {

std::string RenderMetrics(const std::vector<Metric>& metrics) {
  std::vector<prometheus::MetricFamily> families;
  families.reserve(metrics.size());
  for (const auto& metric : metrics) {
    prometheus::MetricFamily family;
    family.name = metric.name;
    family.help = metric.help;
    prometheus::ClientMetric value;
    if (metric.kind == Metric::Kind::kCounter) {
      family.type = prometheus::MetricType::Counter;
      value.counter.value = metric.read();
    } else {
      family.type = prometheus::MetricType::Gauge;
      value.gauge.value = metric.read();
    }
    family.metric.push_back(std::move(value));
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace shoal::agent
