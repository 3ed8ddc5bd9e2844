// The dashboard: one page on the admin port that shows what the status API answers.
#pragma once

#include <string_view>

namespace shoal::agent {

// HTML with its style and script; it asks /v1/... of the agent that served it, and nobody else.
std::string_view DashboardPage();

}  // namespace shoal::agent
