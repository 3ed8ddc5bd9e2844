// The scenarios, file by file.
#pragma once

#include <vector>

#include "tests/sim/scenario.h"

namespace shoal::sim {

void AddCalmScenarios(std::vector<Scenario>& all);
void AddFaultScenarios(std::vector<Scenario>& all);

}  // namespace shoal::sim
