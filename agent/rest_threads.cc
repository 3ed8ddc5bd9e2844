#include "agent/rest_threads.h"

#include <pplx/threadpool.h>

namespace shoal::agent {
namespace {

constexpr int kThreads = 4;

}  // namespace

void LimitRestThreads() { crossplat::threadpool::initialize_with_threads(kThreads); }

}  // namespace shoal::agent
