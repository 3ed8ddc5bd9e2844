#include "agent/rest_threads.h"

// <utility> first: Asio 1.74 with g++ 12 forgets it.
#include <utility>

#include <pplx/threadpool.h>

namespace shoal::agent {
namespace {

constexpr int kThreads = 4;

}  // namespace

void LimitRestThreads() { crossplat::threadpool::initialize_with_threads(kThreads); }

}  // namespace shoal::agent
