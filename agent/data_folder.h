// The folder in which an agent or an index server keeps its state.
#pragma once

#include <string>

#include "base/result.h"
#include "fetch/store/file.h"

namespace shoal::agent {

// Makes it if it is not there, and locks it for as long as the file is held; the kernel lets go
// when the process ends, however it ends.
//
// Errors: kDenied, kExhausted when another process has it; one sentence that says what to do.
Result<fetch::SharedFile> TakeDataFolder(const std::string& folder);

}  // namespace shoal::agent
