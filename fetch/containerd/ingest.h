// Ingest: writes one image into containerd, all of it or nothing.
#pragma once

#include "base/result.h"
#include "fetch/containerd/containerd.h"
#include "fetch/containerd/session.h"

namespace shoal::fetch {

// As Containerd::Ingest, in one session. Blocks; any thread.
//
// A lease holds what is written until the image's record refers to it; without that, containerd
// could collect the blobs in between. The lease is given up in every case, and expires by itself
// when we cannot.
Status IngestInto(Session& session, const IngestImage& image);

}  // namespace shoal::fetch
