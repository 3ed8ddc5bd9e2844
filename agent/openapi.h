// What GET /openapi.json answers: the status API, described for programs (OpenAPI 3.0.3).
#pragma once

#include "base/json.h"

namespace shoal::agent {

Json OpenApi();

}  // namespace shoal::agent
