// What GET /v1/search answers.
#pragma once

#include "agent/admin_server.h"
#include "agent/image_finder.h"

namespace shoal::agent {

// ?q=WORDS&limit=N&after=CURSOR; docs/OPERATING.md, "Search".
AdminReply SearchReply(const ImageFinder& finder, const AdminRequest& request);

// "linux/amd64,linux/arm64" as an array.
Json PlatformList(std::string_view platforms);

}  // namespace shoal::agent
