// The folder in which an agent or an index server keeps its state.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/units.h"
#include "fetch/store/file.h"
#include "index/lmdb/env.h"

namespace shoal::agent {

// Makes it if it is not there, and locks it for as long as the file is held; the kernel lets go
// when the process ends, however it ends.
//
// Errors: kDenied, kExhausted when another process has it; one sentence that says what to do.
Result<fetch::SharedFile> TakeDataFolder(const std::string& folder);

// A database in it, which says by which version of its tables it was written. One that does not is
// of the first, before it said so.
//
// Errors: those of LmdbEnv::Open; kUnsupported for a later version.
Result<std::unique_ptr<index::LmdbEnv>> OpenDatabase(
    const std::string& dir, Bytes map_max, index::LmdbSync sync = index::LmdbSync::kEachCommit);

}  // namespace shoal::agent
