// From [[registry]] entries to what registry-proxy takes: files named there are read here, once.
#pragma once

#include "agent/config.h"
#include "registry-proxy/registries.h"

namespace shoal::agent {

// Errors: kInvalid naming the registry and the file, and what to mend.
Result<proxy::Registries> MakeRegistries(const Config& config);

}  // namespace shoal::agent
