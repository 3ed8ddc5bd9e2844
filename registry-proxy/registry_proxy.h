// registry-proxy/ owns what a container runtime sees, and what a registry sees of us: paths,
// ranges, error bodies, manifests, tags, credentials.
//
// It never decides where bytes come from (fetch/ does), never sends a byte that fetch/ has not
// verified, and never shows a client 401, 403 or 429: those end a pull, where 404 and 503 move the
// client on to its next host.
//
// The core, here:
//   pull_path.h   a request's target -> what is asked for    names.h      what may be in a name
//   http_range.h  Range, If-Range, ETag                      errors.h     bodies of errors
//   manifest.h    what a manifest refers to                  image_name.h  "nginx" and its like
//   tag_cache.h   tag -> digest, and for how long            auth.h       challenges and tokens
//   registries.h  where a registry is                        docker_config.h  its credentials
//   range_plan.h  a blob by several connections              redirects.h  where blobs were found
//   slot_share.h  whose turn it is at a registry with a bound on its connections
// The adapters: http/ is the mirror, upstream/ talks to registries.
//
// Limits: targets 8 KiB, names 255 bytes, manifests 4 MiB and 10,000 children, ranges 64 a request.
#pragma once
